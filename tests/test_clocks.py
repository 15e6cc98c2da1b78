"""No test judges time: what a busy machine does late is not wrong. Work is counted, see `tests/work.py`."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLOCKS = {"perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time", "process_time_ns",
          "thread_time", "thread_time_ns", "time_ns", "timeit", "clock_gettime", "getrusage"}  # fmt: skip
READS_A_CLOCK = {
    "killing.py": "chooses the moment at which a process is killed",
    "end_to_end/test_command_line.py": "gives up waiting for a file, after a minute",
    "fuzz/__main__.py": "reports how long a campaign took",
    "fuzz/guided.py": "reports how long a campaign took",
    "fuzz/watch.py": "campaigns that are started by hand; the suite stops its clock; and memory",
}
LEAST_PATIENCE_S = 60  # a shorter wait for a process would be a judgement of its speed


@cache
def sources() -> list[tuple[str, ast.AST]]:
    """Every file of the tests, and what it says."""
    paths = sorted(HERE.rglob("*.py"))
    return [(path.relative_to(HERE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def reads_of_clocks(tree: ast.AST) -> list[int]:
    """The lines on which a clock of the system is read or imported."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            is_clock = node.value.id in ("time", "timeit", "resource") and node.attr in {*CLOCKS, "time", "repeat"}
        elif isinstance(node, ast.ImportFrom):
            is_clock = node.module in ("time", "timeit") and any(alias.name != "sleep" for alias in node.names)
        else:
            is_clock = False
        if is_clock:
            lines.append(node.lineno)
    return lines


def short_timeouts(tree: ast.AST) -> list[int]:
    """The lines on which a call is given less than a minute."""
    given = [word for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords]
    values = [word.value for word in given if word.arg == "timeout" and isinstance(word.value, ast.Constant)]
    return [value.lineno for value in values if value.value is not None and value.value < LEAST_PATIENCE_S]


def test_no_test_reads_a_clock() -> None:
    """But for the files in the table, each with its reason; and none is in it without need."""
    found = {name: lines for name, tree in sources() if (lines := reads_of_clocks(tree))}
    assert set(found) == set(READS_A_CLOCK), found


def test_no_test_is_impatient() -> None:
    """A limit on waiting is there so that the suite ends, not to say how fast something is."""
    assert {name: lines for name, tree in sources() if (lines := short_timeouts(tree))} == {}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("time.perf_counter() - started < 5", [1]),
        ("from time import monotonic as now", [1]),
        ("x = 1\ny = timeit.repeat(call)", [2]),
        ("time.time()", [1]),
        ("resource.getrusage(who)", [1]),
        ("time.sleep(1)\nfrom time import sleep\nclock.time", []),
    ],
)
def test_what_counts_as_reading_a_clock(source: str, expected: list[int]) -> None:
    """However it is imported; sleeping and a clock of the test's own are none."""
    assert reads_of_clocks(ast.parse(source)) == expected
    assert short_timeouts(ast.parse("wait(timeout=5); wait(timeout=60); wait(timeout=None)")) == [1]
