"""Run a command in a child process under a real memory limit of the operating system, and say what it needed.

The limit is RLIMIT_AS, on the whole address space: Python, NumPy, the BLAS and its threads' stacks count, as they would
on a small Linux board. POSIX only.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from edge_runtime.engine import Limits
from edge_runtime.errors import InputError

_CHILD = """
import json, resource, sys
limit = int(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.argv = sys.argv[2:]
exec(sys.argv[0])
with open("/proc/self/status") as status:  # getrusage would count what the parent had when it forked
    lines = dict(line.split(":", 1) for line in status)
print(json.dumps({key: int(lines[key].split()[0]) * 1024 for key in ("VmHWM", "VmPeak")}))
"""

ENGINE_CODE = """
import json, sys
import numpy as np
from edge_runtime import Engine, Limits, load
model = load(sys.argv[1], mmap=sys.argv[3] == "mmap", max_bytes=1 << 62)  # the caller's own limit stands before
Engine(model, Limits(**json.loads(sys.argv[2])), sys.argv[4]).run(np.zeros((1, model.n_in), np.float32))
"""
NUMPY_CODE = "import numpy"  # what every such process needs before a model is loaded


def engine_arguments(
    path: str | os.PathLike[str], limits: Limits, *, mmap: bool = False, backend: str = "numpy"
) -> list[str]:
    """The arguments that `ENGINE_CODE` takes: load the artifact, make an engine and run one row, as fast as it can."""
    at_full_speed = dataclasses.replace(limits, speed_factor=1.0)  # memory is looked at, and waiting takes none
    return [os.fspath(path), json.dumps(dataclasses.asdict(at_full_speed)), "mmap" if mmap else "read", backend]


@dataclass(frozen=True)
class Enforced:
    """How a command fared. ok: it finished within the limit. Peaks are in bytes; None where it did not finish.

    error: the last line that it printed where it failed.
    """

    limit_bytes: int
    ok: bool
    peak_rss_bytes: int | None
    peak_address_space_bytes: int | None
    error: str


def run_limited(code: str, arguments: Sequence[str], limit_bytes: int) -> Enforced:
    """Run Python `code` (its arguments in sys.argv[1:]) in a fresh process, one BLAS thread. limit_bytes: 0 is none.

    Raises InputError where the system has no such limits.
    """
    if not sys.platform.startswith("linux"):
        raise InputError("memory limits are enforced on Linux only; leave --enforce out elsewhere")
    environment_code = "import os; os.environ.update(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1')\n" + code
    command = [sys.executable, "-c", _CHILD, str(limit_bytes), environment_code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    lines = (result.stdout if result.returncode == 0 else result.stderr).strip().splitlines()
    if result.returncode != 0:
        reason = lines[-1] if lines else f"ended by signal {-result.returncode}"
        return Enforced(limit_bytes, False, None, None, reason)
    peaks = json.loads(lines[-1])
    return Enforced(limit_bytes, True, peaks["VmHWM"], peaks["VmPeak"], "")
