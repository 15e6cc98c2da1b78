"""One thread for every tool: environment variables that must be set before NumPy or PyTorch are imported."""

from __future__ import annotations

import os
import subprocess
import sys

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_MARK = "SMALLNET_BENCHMARK_CHILD"


def run_in_one_thread(name: str, argv: list[str]) -> int | None:
    """Run `python -m benchmarks NAME` again in a process with one thread; None where this is that process."""
    if os.environ.get(_MARK) == name:
        return None
    environment = os.environ | {variable: "1" for variable in _VARIABLES} | {_MARK: name}
    return subprocess.run([sys.executable, "-m", "benchmarks", name, *argv], env=environment, check=False).returncode
