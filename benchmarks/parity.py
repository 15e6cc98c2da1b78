"""How many bits differ between NumPy and onnxruntime, over adversarial networks (--nets, default 3000).

Every third network has stages in floats too; behind a normalization the layers of integers are held to what onnxruntime
has there. Of every fourth the weights are of 4 bits, and of another fourth those of every other layer.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy
import onnx
import onnxruntime

from edge_runtime import Model
from export.onnx_writer.int8_forms import FORMS
from export.onnx_writer.writer import to_onnx
from export.verification.onnx_session import LEVELS
from export.verification.verify import verify
from tests.adversarial import adversarial_model, adversarial_rows, in_int4, staged_adversarial_model
from tests.opsets import int4_opsets, newest_opset

EXACT_FORMS = [form for form in FORMS if form != "qdq"]


def main(argv: list[str]) -> int:
    """Compare every tensor of every network; exit status 1 when a value differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks parity", description=__doc__)
    parser.add_argument("--nets", type=int, default=3000, help="networks to try (default 3000)")
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args(argv)
    newest, runs_int4 = newest_opset(), 21 in int4_opsets()
    started = time.perf_counter()
    compared = dict.fromkeys(EXACT_FORMS, 0)
    differing = dict.fromkeys(EXACT_FORMS, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        for seed in range(options.first_seed, options.first_seed + options.nets):
            model = _network(seed)
            rows = adversarial_rows(model, seed)
            opset = 13 + seed % ((20 if seed % 2 and not runs_int4 else newest) - 12)
            for form in EXACT_FORMS:
                path.write_bytes(to_onnx(model, form, opset=opset).SerializeToString())
                report = verify(model, path, rows, levels=tuple(LEVELS), threads=1 + seed % 2)
                compared[form] += report.exact_compared
                differing[form] += report.exact_differing
                if not report.ok:
                    differing[form] += not report.exact_differing  # a value of floats beyond its bound
                    print(f"seed {seed}, {form}, opset {opset}: first at {report.first_diverging_layer}")
    print(
        f"{options.nets} networks, levels {', '.join(LEVELS)}, opsets 13 to {newest}, 1 and 2 threads, "
        f"{time.perf_counter() - started:.0f} s; {platform.processor() or platform.machine()}, "
        f"NumPy {numpy.__version__}, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}"
    )
    for form in EXACT_FORMS:
        print(f"{form}: {differing[form]:,} of {compared[form]:,} values differ")
    return 1 if any(differing.values()) else 0


def _network(seed: int) -> Model:
    model = staged_adversarial_model(seed) if seed % 3 == 2 else adversarial_model(seed)
    return in_int4(model, every=1 if seed % 4 == 1 else 2) if seed % 2 else model
