"""Ways from a float network to a small one: this project's, step by step, and those of other tools in processes."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import numpy as np

from benchmarks._networks import Case
from benchmarks.peers.task import Task, save_task

if TYPE_CHECKING:
    from edge_runtime import Model

ROOT = Path(__file__).parent.parent
CHOSEN, FINE_TUNED = "as chosen", "fine-tuned"
STEPS: dict[str, dict[str, Any]] = {  # the last is what `export` does
    "min-max": {"method": "minmax"},
    "percentile": {"method": "percentile"},
    "mse": {"method": "mse"},
    "entropy": {"method": "entropy"},
    "equalized": {"method": "minmax", "equalization": True},
    "bias correction": {"method": "minmax", "bias_correction": True},
    "compensated": {"method": "minmax", "rounding": "compensated"},
    "these three": {"method": "minmax", "equalization": True, "bias_correction": True, "rounding": "compensated"},
    CHOSEN: {},
}
PRECISIONS = ("int8", "int8-a16", "int4", "3 bits")
THREE_BITS = (-4, 3)
TUNED = ("int8", "int4")  # precisions that classifiers are trained further in
TUNING: dict[str, Any] = {"epochs": 5, "learning_rate": 0.0003, "batch_size": 128}


class Way(NamedTuple):
    """How a network was made small. tool: "" for this project."""

    precision: str
    tool: str
    name: str


class Small(NamedTuple):
    """What came of it: logits of the test rows, (n, n_out), and what the tool said of it."""

    way: Way
    logits: np.ndarray
    note: str = ""


def ours(case: Case) -> Iterator[Small]:
    """Each step by itself, together, and as held-out rows choose."""
    from edge_runtime import Engine

    for precision in PRECISIONS:
        for name, switches in STEPS.items():
            small = _quantized(case, precision, switches)
            logits = Engine(small).logits(case.test)
            yield Small(Way(precision, "", name), logits, small.metadata.get("calibration_ladder", ""))


def fine_tuned(case: Case) -> Iterator[Small]:
    """As chosen, and trained further to answer what the float network answers to its training rows: classifiers."""
    from edge_runtime import Engine
    from export.quantization import Switches, quantize_beside
    from trainer import fine_tune

    for precision in TUNED if case.labels is not None else ():
        found = quantize_beside(case.model, case.calibration, precision, Switches(), 0)
        small = fine_tune(
            found.source, found.model, case.train, None, validation_data=(case.validation, None), **TUNING
        )
        yield Small(Way(precision, "", FINE_TUNED), Engine(small).logits(case.test))


def without_rows(case: Case) -> Iterator[tuple[str, str, str]]:
    """By precision what stored ranges give and what calibration rows give: "44.2 dB, 31 decisions changed"."""
    from edge_runtime import Engine
    from export.quantization import quantize, sqnr_db, with_ranges

    exact = Engine(case.model).logits(case.test)
    ranged = with_ranges(case.model, case.train)
    for precision in ("int8", "int8-a16", "int4"):
        found = []
        for model, rows in ((ranged, None), (case.model, case.calibration)):
            logits = Engine(quantize(model, rows, precision, test_vectors=0)).logits(case.test)
            changed = int(np.sum(logits.argmax(axis=1) != exact.argmax(axis=1)))
            decided = "" if case.labels is None else f", {changed} decisions changed"
            found.append(f"{sqnr_db(exact, logits):.1f} dB{decided}")
        yield precision, found[0], found[1]


def _quantized(case: Case, precision: str, switches: dict[str, Any]) -> Model:
    """A network of this precision. 3 bits are int4 whose weights use half of their 16 numbers."""
    from export.quantization import int8_layers, quantize

    if precision != "3 bits":
        return quantize(case.model, case.calibration, precision, test_vectors=0, **switches)
    limits = int8_layers._LIMITS["int4"]
    with mock.patch.dict(int8_layers._LIMITS, {"int4": limits._replace(low=THREE_BITS[0], high=THREE_BITS[1])}):
        return quantize(case.model, case.calibration, "int4", test_vectors=0, **switches)


class Peer(NamedTuple):
    """A tool that one of the given Pythons has. program: its module in `benchmarks.peers`."""

    program: str
    python: str
    version: str

    @property
    def tool(self) -> str:
        """Its name."""
        return self.program.removeprefix("by_")


def installed(pythons: list[str]) -> list[Peer]:
    """Which of the tools can be had, each from the first Python that has it."""
    found: dict[str, Peer] = {}
    for path in sorted(Path(__file__).parent.glob("peers/by_*.py")):
        if "benchmarks.peers.task" not in path.read_text(encoding="utf-8"):
            continue  # a generator of C
        for python in pythons:
            result = _run(python, path.stem)
            if result.returncode == 0 and path.stem not in found:
                found[path.stem] = Peer(path.stem, python, result.stdout.split()[-1])
    return list(found.values())


def theirs(case: Case, peer: Peer) -> Iterator[Small]:
    """What each setting of a tool makes of the same weights with the same rows."""
    layers = case.model.layers
    task = Task([x.weight for x in layers], [x.bias for x in layers], case.calibration, case.test)  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory() as folder:
        save_task(task, Path(folder, "task.npz"))
        result = _run(peer.python, peer.program, f"{folder}/task.npz", f"{folder}/out.npz")
        if result.returncode:
            print(f"{peer.tool}: {result.stderr.strip().splitlines()[-1:]}", flush=True)
            return
        with np.load(Path(folder, "out.npz")) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    for name, reason in json.loads(str(found.pop("failed"))).items():
        print(f"{peer.tool}, {name}: {reason}", flush=True)
    for name, logits in found.items():
        precision, _, setting = name.partition(": ")
        yield Small(Way(precision, peer.tool, setting), logits)


def _run(python: str, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", f"benchmarks.peers.{program}", *arguments]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
