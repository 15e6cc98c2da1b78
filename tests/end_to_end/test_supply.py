"""What the project depends on, and that it never asks the network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

tomllib = pytest.importorskip("tomllib", reason="part of Python since 3.11")

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_IN_THE_SUITE = {"mypy", "ruff", "smallnet"}  # tools that look at the code, and the project itself
REFUSED = 97  # the exit status of a process that asked for the network

# Runs before anything else in a Python process. An audit hook sees what a compiled module asks of `socket` as well, and
# cannot be removed or caught.
SITECUSTOMIZE = f"""
import os, sys
ASKING = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto",
          "socket.sendmsg", "socket.bind", "urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect")
def refuse(event, arguments):
    if event in ASKING:
        os.write(2, ("asked for the network: " + event).encode())
        os._exit({REFUSED})
sys.addaudithook(refuse)
"""
IMPORT_EVERYTHING = """
import importlib, pkgutil
for package in ("edge_runtime", "trainer", "export"):
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if module.name != "__main__":
            importlib.import_module(f"{package}.{module.name}")
"""


def bounds(requirements) -> dict[str, str]:
    """What a list of requirements says of each name: ">=1.24.2"."""
    found = (re.match(r"([A-Za-z0-9_-]+)(?:\[\w+\])?(.*)", text) for text in requirements)
    return {match[1]: match[2] for match in found if match and match[1] not in NOT_IN_THE_SUITE}


def test_lower_bounds_are_the_versions_that_ci_tests():
    """Each bound of pyproject.toml is a line of .ci/oldest.txt, with which .ci/run runs the whole suite."""
    extras = PROJECT["optional-dependencies"]
    wanted = bounds(PROJECT["dependencies"]) | bounds(extras["export"]) | bounds(extras["dev"])
    lines = (ROOT / ".ci" / "oldest.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert {name: f">={tested.get(name)}" for name in wanted} == wanted
    assert set(tested) - set(wanted) == {"protobuf"}
    assert "install -q -r .ci/oldest.txt" in (ROOT / ".ci" / "run").read_text()


def test_nothing_is_bounded_above_without_a_reason():
    """Only torch is pinned, for its exporters, and never for those who use the project."""
    extras = PROJECT["optional-dependencies"]
    everything = [*PROJECT["dependencies"], *(text for extra in extras.values() for text in extra)]
    above = [text for text in everything if re.search(r"<|==|~=|!=", text.partition(";")[0])]
    assert [re.split("[=<~!]", text)[0] for text in above] == ["torch"]


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A folder and a function that runs Python there without network: (status, standard error)."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    path = os.pathsep.join([str(folder / "hook"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    rows = np.random.default_rng(0).integers(0, 16, (20, 64))
    np.savetxt(folder / "x.csv", rows, delimiter=",", fmt="%d")

    def run(*arguments):
        command, variables = [sys.executable, *map(str, arguments)], {**os.environ, "PYTHONPATH": path}
        result = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
        return result.returncode, result.stderr

    return run


@pytest.mark.parametrize(
    "statement",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.getaddrinfo('localhost', 9)",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
    ],
)
def test_the_hook_sees_who_asks_for_the_network(offline, statement):
    """The test below can fail: a process that connects, resolves a name or opens an address is ended."""
    assert offline("-c", statement)[0] == REFUSED


def test_no_import_asks_for_the_network(offline):
    """Every module of the three packages, with onnx and onnxruntime."""
    assert offline("-c", IMPORT_EVERYTHING) == (0, "")


def test_no_command_asks_for_the_network(offline):
    """Each command once, in a chain, and the bundled application."""
    chain = [
        "train --hidden 6 --epochs 2 --out m.npz --checkpoint c",
        "export m.npz --precision all --calibrate digits --out out",
        "verify out/m.int8.npz out/m.int8.onnx --data digits",
        "import out/m.float32.onnx --out i.npz --data digits",
        "run out/m.int8.npz --input x.csv --output y.csv",
        "inspect out/m.int8.npz",
        "selftest out/m.int8.npz",
        "bench out/m.int8.npz --against onnxruntime --seconds 0.01 --batch 1 --device esp32",
        "bundle out/m.int8.npz -o app.pyz",
        "devices",
        "demo --out demo",
        "--version",
        "--help",
    ]
    from export.cli import main

    assert {line.split()[0] for line in chain if not line.startswith("-")} == set(main.commands)
    for line in chain:
        status, errors = offline("-m", "export", *line.split())
        assert status == 0, (line, errors)
    assert offline("app.pyz", "--selftest")[0] == 0
    assert offline("-m", "edge_runtime", "selftest", "out/m.int8.npz")[0] == 0
