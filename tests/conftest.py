"""Rules for every test: a docstring that promises something."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile

import pytest

# before a test, or a process of its, loads onnxruntime
os.environ["ORT_DISABLE_TELEMETRY"] = os.environ.get("ORT_DISABLE_TELEMETRY") or "1"
# a Python that runs on another kind of processor: what tests start of themselves runs there too
sys.executable = os.environ.get("SMALLNET_TEST_PYTHON", sys.executable)

if (
    "SMALLNET_CACHE" not in os.environ
):  # compiled kernels: a folder of the tests' own, and not that of whoever runs them
    os.environ["SMALLNET_CACHE"] = tempfile.mkdtemp(prefix="smallnet-tests-")
    atexit.register(shutil.rmtree, os.environ["SMALLNET_CACHE"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse to run while a test has no docstring."""
    silent = [item.nodeid for item in items if isinstance(item, pytest.Function) and not item.function.__doc__]
    if silent:
        raise pytest.UsageError(f"tests without a docstring that says what they promise: {silent[:5]}")
