"""The version is stated once, without NumPy; what made a model is said in its metadata."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np

import edge_runtime
from edge_runtime.version import made_with


def test_versions_are_those_of_now() -> None:
    """Of the project, of NumPy and of Python, each as it says itself."""
    text = made_with()["made_with"]
    assert re.fullmatch(r"smallnet \S+, numpy \S+, python \d+\.\d+\.\d+", text)
    assert f"smallnet {edge_runtime.__version__}, numpy {np.__version__}, " in text


def test_the_version_needs_no_numpy() -> None:
    """A command line asks for it before NumPy is loaded."""
    code = "import sys, edge_runtime; print(edge_runtime.__version__, 'numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == f"{edge_runtime.__version__} False\n"
