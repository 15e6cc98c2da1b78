"""No command asks for the network or leaves anything in the home folder: seen from outside, by the system's calls.

onnxruntime's telemetry opens its connection from C++, some seconds after it is loaded, which Python's hooks never see.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
VARIABLE = "ORT_DISABLE_TELEMETRY"
SETS_IT = f'os.environ["{VARIABLE}"] = os.environ.get("{VARIABLE}") or "1"'
SECONDS = 8  # with the telemetry on, the first name is looked up after some 5 seconds
LOADS_IT = re.compile(r"^\s*(?:import|from) onnxruntime\b", re.M)
FIRST_IN = {  # the one import of each program, with the variable set before it
    "product": "export/verification/onnx_session.py",
    "benchmarks": "benchmarks/__init__.py",
    "tests": "tests/conftest.py",
}
# One process for all commands: each loads what it needs, and the process waits for connections that come late.
SESSION = f"""
import sys, time
from export.commands.cli import main
def run(line):
    try:
        main(line.split(), prog_name="smallnet")
    except SystemExit as end:
        assert end.code in (0, None), (line, end.code)
for line in open(sys.argv[1]).read().splitlines():
    run(line)
time.sleep({SECONDS})
"""
COMMANDS = """
train --hidden 6 --epochs 2 --out m.npz --checkpoint c
export m.npz --precision all --calibrate digits --out out
verify out/m.int8.npz out/m.int8.onnx --data digits
score out/m.int8.onnx --data digits
diagnose m.npz --data digits
diff m.npz m.npz
import out/m.float32.onnx --out i.npz --data digits
run out/m.int8.npz --input x.npy --output y.csv
inspect out/m.int8.npz
selftest out/m.int8.npz
bench out/m.int8.npz --against onnxruntime --seconds 0.01 --batch 1 --device esp32
bundle out/m.int8.npz -o app.pyz
devices
demo --out demo
""".strip()


def traced(folder: Path, *arguments: str, **variables: str) -> str:
    """What a Python process and its children asked of the system's network, one call a line."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    calls = folder / "calls.txt"
    command = ["strace", "-f", "-qq", "-e", "trace=%network", "-o", str(calls), sys.executable, *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    return calls.read_text(errors="replace")


def remote(calls: str) -> list[str]:
    """The calls that concern another family of sockets than local ones."""
    return [line for line in calls.splitlines() if "AF_INET" in line or "AF_NETLINK" in line]


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed; .ci/run installs it")


@needs_strace
def test_no_command_opens_a_socket_or_leaves_anything_at_home(tmp_path: Path) -> None:
    """Every command, with onnxruntime loaded long enough for its own connection, from an environment without a word."""
    (tmp_path / "lines").write_text(COMMANDS)
    np.save(tmp_path / "x.npy", np.zeros((3, 64), np.float32))
    calls = traced(tmp_path, "-c", SESSION, "lines")
    assert remote(calls) == []
    assert sorted(os.listdir(tmp_path / "home")) == []
    from export.commands.cli import main

    assert {line.split()[0] for line in COMMANDS.splitlines()} == set(main.places)


@needs_strace
def test_the_trace_sees_who_connects(tmp_path: Path) -> None:
    """The test above can fail: a socket of Python's own, and one of a child process, are seen."""
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))"
    assert len(remote(traced(tmp_path, "-c", code))) >= 2
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    assert len(remote(traced(tmp_path, "-c", child))) >= 2


@pytest.mark.parametrize("value", [None, "", "0", "1"])
def test_the_variable_is_set_before_and_the_user_s_own_stays(value: str | None) -> None:
    """In the product, in its child process, and in the benchmarks. An empty value is none: with it onnxruntime asks."""
    environment = {name: text for name, text in os.environ.items() if name != VARIABLE}
    environment |= {"PYTHONPATH": str(ROOT)} | ({} if value is None else {VARIABLE: value})
    for module in ("export.verification.onnx_session", "export.verification.onnx_worker", "benchmarks"):
        code = f"import os, {module}; print(os.environ[{VARIABLE!r}])"
        found = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True, cwd=ROOT)
        assert found.strip() == (value or "1")


def test_onnxruntime_is_loaded_in_one_place() -> None:
    """One file of the product imports it, after the variable is set; so does code for other processes."""
    paths = [path for package in ("edge_runtime", "trainer", "export") for path in (ROOT / package).rglob("*.py")]
    assert [path.relative_to(ROOT).as_posix() for path in paths if _imports_it(path)] == [FIRST_IN["product"]]
    texts = [(ROOT / FIRST_IN["product"]).read_text(encoding="utf-8"), *(code for p in paths for code in _strings(p))]
    loading = [(text, found.start()) for text in texts if (found := LOADS_IT.search(text))]
    assert len(loading) >= 2
    assert all(SETS_IT in text[:start] for text, start in loading)


@pytest.mark.parametrize("program", ["benchmarks", "tests"])
def test_benchmarks_and_tests_set_it_first(program: str) -> None:
    """In the file that Python reads before all others of theirs."""
    text = (ROOT / FIRST_IN[program]).read_text(encoding="utf-8")
    assert SETS_IT in text
    assert not LOADS_IT.search(text)


def _imports_it(path: Path) -> bool:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return any(name.split(".")[0] == "onnxruntime" for name in names)


def _strings(path: Path) -> list[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
