"""Exported C on an emulated Cortex-M4F beside other generators of C: flash, RAM, instructions, differing values.

The same int8 weights for all, codes in; what a tool cannot do is said. Sizes are those of firmware with the network
less the same without. Instructions are executed ones of one inference, not cycles. --requantize compares the two forms
of requantization with NumPy on so many accumulators; --networks compiles so many adversarial networks by every compiler
of this machine and compares all their answers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks._c_peers import HERE, PEERS, PER_LAYER, NotInstalledError, Peer, Task
from edge_runtime import QuantizedDense
from edge_runtime.numerics.quantization import quantize as quantize_rows
from export.quantization import quantize
from tests.c.firmware import CORES, build, emulated_lines, instructions, sizes
from tests.c.networks import SIZES, float_network

ROWS = 8
CHUNK = 1_000_000


def main(argv: list[str]) -> int:
    """Print a table for each network; or compare, and return 1 where a bit differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks c", description=__doc__)
    parser.add_argument("--requantize", type=int, metavar="COUNT", help="compare so many accumulators (300000000)")
    parser.add_argument("--networks", type=int, metavar="COUNT", help="compare so many networks (300)")
    parser.add_argument("--core", choices=sorted(CORES), default="M4F")
    parser.add_argument("--flags", default="-O2", help="of the compiler (default %(default)s)")
    parser.add_argument("--python", default=sys.executable, help="a Python that has bakenn, emlearn and emx-onnx-cgen")
    parser.add_argument("--onnx2c", default="onnx2c", help="the program")
    options = parser.parse_args(argv)
    if options.requantize:
        return _requantize(options.requantize)
    if options.networks:
        return _networks(options.networks)
    for name in SIZES:
        print(f"\n{name}, Cortex-{options.core}, {options.flags}, {ROWS} rows")
        print(f"{'':18}{'flash':>9}{'RAM':>8}{'stack':>7}{'instructions':>14}  differing values")
        for peer in PEERS:
            with tempfile.TemporaryDirectory() as folder:
                print(f"{peer:18}{_measured(name, peer, Path(folder), options)}", flush=True)
    return 0


def _measured(name: str, peer: str, folder: Path, options: argparse.Namespace) -> str:
    """A line of the table, or why there is none."""
    full, calibration = float_network(name)
    model = quantize(full, calibration, "int8", "minmax", per_channel=peer not in PER_LAYER)
    first = model.layers[0]
    assert isinstance(first, QuantizedDense)
    codes = quantize_rows(calibration[:ROWS], first.input)
    try:
        made = PEERS[peer](Task(replace(model, test_vectors=None), codes, folder, options.python, options.onnx2c))
        return _line(made, folder, options)
    except (NotInstalledError, AssertionError) as error:
        return f"  {str(error).strip().splitlines()[-1]}"


def _line(made: Peer, folder: Path, options: argparse.Namespace) -> str:
    core = CORES[options.core]
    (folder / "rows.h").write_text(_rows_in_c(made.rows), encoding="utf-8")
    flags = ["-I", folder, *options.flags.split(), *made.flags]
    firmware = build(core, [*made.sources, HERE / "firmware.c"], folder / "with.elf", *flags)
    bare = build(core, [HERE / "firmware.c"], folder / "without.elf", "-DWITHOUT", *flags)
    flash, ram = (a - b for a, b in zip(sizes(firmware), sizes(bare), strict=True))
    lines = emulated_lines(core, firmware, counted=True)
    found = dict(lines)
    values = np.array([bits for name, bits in lines if name == "y"], np.uint32)
    dtype = made.expected.dtype
    values = values.view(np.float32) if dtype == np.float32 else values.astype(np.uint8).view(np.int8)
    count = round(instructions(core, found["ticks"]))
    return f"{flash:9,}{ram:8,}{found['stack']:7,}{count:14,}  {_differing(values, made.expected.reshape(-1))}"


def _differing(values: np.ndarray, expected: np.ndarray) -> str:
    differing = np.count_nonzero(values != expected)
    largest = np.abs(values.astype(np.float64) - expected).max()
    return f"{differing:,} of {values.size:,}" + (f", by up to {largest:.3g}" if differing else "")


def _rows_in_c(rows: np.ndarray) -> str:
    is_float = rows.dtype.kind == "f"
    words = [[float(v).hex() + "f" if is_float else str(v) for v in row] for row in rows.tolist()]
    content = ",\n".join("{" + ", ".join(row) + "}" for row in words)
    return f"#define ROWS {len(rows)}\nstatic const peer_in rows[ROWS][N_IN] = {{{content}}};\n"


def _requantize(count: int) -> int:
    """Both forms, compiled for this machine, beside NumPy."""
    from tests.c.compilers import host_compilers
    from tests.c.requantizer import answers, build_library, cases, requantized

    name, command = next(iter(host_compilers().items()))
    differing: dict[str, int] = {}
    seconds = {"C": 0.0, "NumPy": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        library = build_library(command, Path(folder), "-O2", "-std=c99")
        for first in range(0, count, CHUNK):
            started = time.perf_counter()
            found = answers(library, first, min(CHUNK, count - first))
            between = time.perf_counter()
            expected = requantized(cases(first, len(next(iter(found.values())))))
            seconds["C"] += between - started
            seconds["NumPy"] += time.perf_counter() - between
            for form, values in found.items():
                differing[form] = differing.get(form, 0) + int(np.count_nonzero(values != expected))
            if first % (30 * CHUNK) == 0:
                print(f"{first:,}: {differing}", file=sys.stderr, flush=True)
    times = ", ".join(f"{value:.0f} s {what}" for what, value in seconds.items())
    print(f"{count:,} accumulators, {name}: {differing} differ from NumPy; {times}")
    return 1 if any(differing.values()) else 0


def _networks(count: int) -> int:
    """Every build of tests/c/test_host.py over so many networks."""
    from tests.c.builds import BUILDS
    from tests.c.compilers import host_compilers
    from tests.c.generated import answers, assert_bits, build_program, write_networks
    from tests.c.networks import c_network

    for first in range(0, count, 50):
        models, rows = zip(*map(c_network, range(first, min(first + 50, count))), strict=True)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            sources = write_networks(models, folder)
            for compiler, *flags in BUILDS.values():
                if compiler in host_compilers():
                    program = build_program(host_compilers()[compiler], folder, sources, *flags)
                    assert_bits(answers([program], models, rows), models, rows)
        values = sum(len(part) * model.n_out for part, model in zip(rows, models, strict=True))
        print(f"networks {first} to {first + len(models) - 1}: 0 of {values:,} logits differ in any build", flush=True)
    print(f"{count} networks; compilers {', '.join(host_compilers())}; builds: {', '.join(BUILDS)}")
    return 0
