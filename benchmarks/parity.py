"""How many bits differ between NumPy and onnxruntime, over adversarial networks (--nets, default 3000).

Every third network has stages in floats too; behind a normalization the layers of integers are held to what onnxruntime
has there. Of every fourth the weights are of 4 bits, and of another fourth those of every other layer. "integer, codes
of 9 to 16 bits" is a network beside each, with grids of as many bits as its sums allow.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import onnx
import onnxruntime

from edge_runtime import Model
from export.onnx_writer.int8_forms import FORMS
from export.onnx_writer.writer import to_onnx
from export.verification.onnx_session import LEVELS
from export.verification.verify import verify
from tests.adversarial import (
    adversarial_model,
    adversarial_rows,
    fine_adversarial_model,
    in_int4,
    staged_adversarial_model,
)
from tests.opsets import int4_opsets, newest_opset

FINE = "integer, codes of 9 to 16 bits"
EXACT_FORMS = [form for form in FORMS if form != "qdq"]


def main(argv: list[str]) -> int:
    """Compare every tensor of every network; exit status 1 when a value differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks parity", description=__doc__)
    parser.add_argument("--nets", type=int, default=3000, help="networks to try (default 3000)")
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args(argv)
    newest, runs_int4 = newest_opset(), 21 in int4_opsets()
    started = time.perf_counter()
    compared: dict[str, int] = {}
    differing: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        for seed in range(options.first_seed, options.first_seed + options.nets):
            opset = 13 + seed % ((20 if seed % 2 and not runs_int4 else newest) - 12)
            for what, form, model in _networks(seed):
                path.write_bytes(to_onnx(model, form, opset=opset).SerializeToString())
                report = verify(model, path, adversarial_rows(model, seed), levels=tuple(LEVELS), threads=1 + seed % 2)
                wrong = report.exact_differing or not report.ok  # or a value of floats beyond its bound
                compared[what] = compared.get(what, 0) + report.exact_compared
                differing[what] = differing.get(what, 0) + wrong
                if wrong:
                    print(f"seed {seed}, {what}, opset {opset}: first at {report.first_diverging_layer}")
    print(
        f"{options.nets} networks, levels {', '.join(LEVELS)}, opsets 13 to {newest}, 1 and 2 threads, "
        f"{time.perf_counter() - started:.0f} s; {platform.processor() or platform.machine()}, "
        f"NumPy {numpy.__version__}, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}"
    )
    for what, count in differing.items():
        print(f"{what}: {count:,} of {compared[what]:,} values differ")
    return 1 if any(differing.values()) else 0


def _networks(seed: int) -> Iterator[tuple[str, str, Model]]:
    """What it is called, the form that it is written in, and the network."""
    for form in EXACT_FORMS:
        yield form, form, _network(seed, adversarial_model)
    yield FINE, "integer", _network(seed, fine_adversarial_model)


def _network(seed: int, make: Callable[[int], Model]) -> Model:
    model = staged_adversarial_model(seed, make) if seed % 3 == 2 else make(seed)
    return in_int4(model, every=1 if seed % 4 == 1 else 2) if seed % 2 else model
