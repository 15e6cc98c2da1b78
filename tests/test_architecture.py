"""The architecture, as a fact that is checked: which rooms there are, what lies above what, and where their doors are.

A room is a folder, or a file at the top of a package. Imports are read from the source, those inside functions too;
those that only type checkers see are left out. What only one room needs of another is exported by its `__init__`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

# From the roof down to the ground: a room may import from the lines below its own. What stands in one line is side by
# side and does not know each other.
ROOMS = {
    "trainer": [
        "cli",
        "report",
        "baseline",
        "recipe  estimators",
        "student",
        "model  fine_tuning",
        "fitting  datasets  logits",
        "network  data",
        "losses  optimizers  schedules  history  layers  activations  scores",
        "arrays",
        "config",
        "errors",
    ],
    "export": [
        "__main__",
        "commands",
        "diagnosis",
        "verification",
        "quantization  onnx_writer  onnx_reader  c_writer",
    ],
    "edge_runtime": [
        "__main__",
        "console",
        "engine",
        "artifact  reference  device_profiles  inputs  native",
        "model  schema",
        "layers",
        "files",
        "numerics",
        "arguments",
        "errors  lazy  array_types  version",
    ],
}
# Inside the one room that has rooms of its own.
READER = [
    "reader",
    "outputs",
    "operators  layers",
    "inputs",
    "values",
    "steps",
    "protobuf",
    "nodes",
]
KNOWS_THE_TRAINER = "export.commands"
# Files that may import our own modules inside functions. Everything else stands at the top of its file.
INSIDE_FUNCTIONS = {
    "export.commands.bench_report": "onnxruntime, where it is compared with",
    "edge_runtime.console.options": "what a command is given is read when it runs",
    "edge_runtime.artifact.artifact": "writing, which a device that only reads never does",
    "edge_runtime.files.rows": "tables of text",
    "edge_runtime.engine.backend": "one of the two",
    "edge_runtime.engine.budget": "refusals",
    "edge_runtime.engine.engine": "trace and frames, which running needs not",
    "edge_runtime.engine.limits": "device profiles, if one is named",
    "edge_runtime.engine.native_backend": "refusals",
    "edge_runtime.engine.numpy_backend": "profile, which running needs not",
    "edge_runtime.native.cache": "writing, which those who find a library do not",
    "edge_runtime.engine.plan": "its table, for those who print it",
    "edge_runtime.engine.profiler": "its table, for those who print it",
}

# Public names that two modules define all the same. What one name says is one thing.
DEFINED_TWICE = {
    "Array": "any array, in annotations",
    "main": "where each program starts",
    "Layer": "a layer that is trained, and one that runs: each package's own",
    "Step": "a learning rate's schedule, whose name checkpoints hold, and what a file does to a row",
    "quantize": "the field's word for a model and for an array",
}
NAMED_AFTER_OPERATORS = "export.onnx_reader.operators."  # a function there is called like what it reads


class Import(NamedTuple):
    """`importer` takes `names` from `module`, at `line`; inside: within a function."""

    importer: str
    module: str
    names: tuple[str, ...]
    line: int
    inside: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module} ({', '.join(self.names)})"


@cache
def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name; a package by its own name."""
    found = {}
    for package in ROOMS:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


@cache
def imports() -> tuple[Import, ...]:
    """Every import of one module of the product by another."""
    return tuple(found for name, path in modules().items() for found in _imports_of(name, path))


def _imports_of(importer: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {id(node) for block in ast.walk(tree) if _is_type_checking(block) for node in ast.walk(block)}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if id(node) in for_types or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for module, names in _targets(node):
            if module in modules() and module != importer:
                yield Import(importer, module, names, node.lineno, id(node) in inside)


@cache
def _exported(package: str) -> frozenset[str]:
    """The names in a package's `__all__`; in a lazy room, those of its table of modules."""
    path = modules().get(package)
    if path is None or path.name != "__init__.py":
        return frozenset()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.Assign) or "__all__" not in ast.unparse(node.targets[0]):
            continue
        if isinstance(node.value, ast.Call):
            return frozenset(name for names in ast.literal_eval(node.value.args[1]).values() for name in names)
        return frozenset(ast.literal_eval(node.value))
    return frozenset()


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _targets(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, ()) for alias in node.names)
        return
    parent = node.module or ""
    exported = _exported(parent)
    submodules = [a.name for a in node.names if f"{parent}.{a.name}" in modules() and a.name not in exported]
    yield from ((f"{parent}.{name}", ()) for name in submodules)
    names = tuple(alias.name for alias in node.names if alias.name not in submodules)
    if names:
        yield parent, names


def room(module: str) -> str:
    """The room that a module belongs to: `edge_runtime.engine` for `edge_runtime.engine.plan`."""
    return ".".join(module.split(".")[:2])


def _level(rows: list[str], name: str) -> int | None:
    return next((index for index, row in enumerate(rows) if name in row.split()), None)


def test_every_room_stands_in_the_table() -> None:
    """A new file or folder is given its place, and no place is kept for what is gone."""
    for package, rows in ROOMS.items():
        stated = {name for row in rows for name in row.split()}
        there = {module.split(".")[1] for module in modules() if module.startswith(f"{package}.")}
        assert stated == there


def test_imports_between_rooms_point_down() -> None:
    """Nothing knows what lies above or beside it, not inside a function either."""
    wrong = [str(found) for found in imports() if _points_up(found)]
    assert not wrong, "\n".join(wrong)


def _points_up(found: Import) -> bool:
    here, there = found.importer.split("."), found.module.split(".")
    if here[0] != there[0]:
        return there[0] != "edge_runtime" and not found.importer.startswith(KNOWS_THE_TRAINER)
    if len(here) == 1 or room(found.importer) == room(found.module):
        return False
    if len(there) == 1:
        return True  # a package's own front door is for others
    above, below = (_level(ROOMS[here[0]], parts[1]) for parts in (here, there))
    return above is None or below is None or above >= below


def test_imports_inside_the_reader_point_down() -> None:
    """The reader's own rooms are ordered too."""
    inside = [found for found in imports() if room(found.importer) == room(found.module) == "export.onnx_reader"]
    wrong = []
    for found in inside:
        here, there = (name.split(".")[2:3] for name in (found.importer, found.module))
        if not here or not there or here == there:
            continue
        above, below = _level(READER, here[0]), _level(READER, there[0])
        if above is None or below is None or above >= below:
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


def test_there_is_no_circle() -> None:
    """No chain of imports leads back to where it began."""
    edges: dict[str, set[str]] = {}
    for found in imports():
        edges.setdefault(found.importer, set()).add(found.module)
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in finished:
            for other in sorted(edges.get(module, ())):
                visit(other, (*path, module))
            finished.add(module)

    for module in modules():
        visit(module, ())


def test_rooms_are_entered_by_their_doors() -> None:
    """From outside, a name is taken from the room's `__init__`, which says what others may use."""
    wrong = []
    for found in imports():
        folders = [".".join(found.module.split(".")[:depth]) for depth in (2, 3)]
        for folder in folders:
            is_folder = folder in modules() and modules()[folder].name == "__init__.py"
            if is_folder and found.module != folder and not f"{found.importer}.".startswith(f"{folder}."):
                wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", [name for name, path in modules().items() if path.name == "__init__.py"])
def test_what_a_room_exports_is_there(package: str) -> None:
    """Each name of `__all__` can be had, whether it is loaded at once or when it is first asked for."""
    module = __import__(package, fromlist=["__all__"])
    for name in modules():  # a file that is called like what the room exports would take its place
        if not name.endswith("__main__"):
            __import__(name)
    for name in getattr(module, "__all__", []):
        assert not isinstance(getattr(module, name), ModuleType), name
        assert name in dir(module)


def test_a_name_has_one_meaning() -> None:
    """A public name at the top of a module is defined in no other module of the product."""
    homes: dict[str, list[str]] = {}
    for module, path in modules().items():
        for name in _defined(path) if not module.startswith(NAMED_AFTER_OPERATORS) else ():
            homes.setdefault(name, []).append(module)
    twice = {name: places for name, places in homes.items() if len(places) > 1}
    assert twice.keys() == DEFINED_TWICE.keys(), {name: twice[name] for name in twice.keys() - DEFINED_TWICE.keys()}


def _defined(path: Path) -> set[str]:
    """The public names that a file's top level defines."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_imports_stand_at_the_top() -> None:
    """A file whose functions import our modules has its reason in the table above, and none is in it without need."""
    inside = [found.importer for found in imports() if found.inside]
    assert set(inside) == set(INSIDE_FUNCTIONS)
    assert len(inside) < 20


def test_only_command_files_know_click() -> None:
    """What is not a command can be used without click."""
    users = {name for name, path in modules().items() if "click" in _foreign(path)}
    assert all(name.startswith(("edge_runtime.console.", "export.commands.", "trainer.cli")) for name in users), users


def test_the_runtime_knows_numpy_alone() -> None:
    """Besides NumPy, and click in its console, the runtime imports the standard library only."""
    for name, path in modules().items():
        if name.split(".")[0] == "edge_runtime":
            foreign = _foreign(path) - {"numpy", "edge_runtime"}
            assert foreign <= ({"click"} if name.startswith("edge_runtime.console.") else set()), name


def _foreign(path: Path) -> set[str]:
    """The top names of what a file imports, without the standard library."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name for node in nodes for name in _tops(node)}
    return names - set(sys.stdlib_module_names)


def _tops(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    return [(node.module or "").split(".")[0]]
