"""`python -m benchmarks` lists the benchmarks; `python -m benchmarks NAME [ARGUMENTS]` runs one."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import benchmarks


def names() -> list[str]:
    """The modules of this package that define `main(argv)`; none is imported to find them."""
    files = [path for folder in benchmarks.__path__ for path in Path(folder).glob("[!_]*.py")]
    return sorted(path.stem for path in files if "\ndef main(" in path.read_text(encoding="utf-8"))


def main(argv: list[str]) -> int:
    """Run the benchmark that argv names, with the rest of argv. 2 for an unknown name."""
    known = names()
    if argv and argv[0] in known:
        module = importlib.import_module(f"benchmarks.{argv[0]}")
        return int(module.main(argv[1:]) or 0)
    out = sys.stderr if argv and argv[0] not in ("-h", "--help") else sys.stdout
    if out is sys.stderr:
        print(f"benchmark {argv[0]!r} found, expected one of {', '.join(known)}", file=out)
        return 2
    print("usage: python -m benchmarks NAME [ARGUMENTS]\n", file=out)
    for name in known:
        print(f"  {name:12} {_summary(name)}", file=out)
    return 0


def _summary(name: str) -> str:
    """The first line of what a benchmark says of itself. It is not imported: that may need packages of its own."""
    source = Path(benchmarks.__path__[0], f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
