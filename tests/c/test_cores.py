"""Exported C on emulated microcontrollers: the engine's bits, and what it takes."""

import zlib

import numpy as np
import pytest

from edge_runtime import Engine
from edge_runtime.numerics import dequantize
from export import quantize
from export.c_writer import write_c
from tests.c.compilers import WARNINGS, run, tool
from tests.c.firmware import CORES, PROGRAMS, build, emulate, measure
from tests.c.generated import write_networks
from tests.c.networks import c_network, measured_network
from tests.networks import random_model, random_rows

ROWS = 4
GCC = "12.2"  # the figures below are of its code
# flash, static RAM and instructions of one inference, at -O2
BUDGETS = {"mlp784": (53_000, 256, 100_000), "ae640": (282_000, 512, 540_000), "mlp784 int4": (27_500, 256, 105_000)}
FIGURES = {
    ("mlp784", "M0"): (53_516, 64, 284_762),
    ("mlp784", "M3"): (53_604, 64, 146_772),
    ("mlp784", "M4F"): (52_076, 64, 85_771),
    ("mlp784", "M7"): (52_088, 64, 85_764),
    ("mlp784", "M33"): (52_084, 64, 85_770),
    ("mlp784 int4", "M0"): (28_252, 64, 413_809),
    ("mlp784 int4", "M3"): (28_316, 64, 179_582),
    ("mlp784 int4", "M4F"): (26_748, 64, 102_475),
    ("ae640", "M3"): (280_000, 256, 871_164),
    ("ae640", "M4F"): (278_476, 256, 482_809),
    ("ae640", "M7"): (278_476, 256, 479_881),
    ("ae640", "M33"): (278_452, 256, 480_745),
}
STACK = 256  # bytes, with what is saved of registers


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Adversarial networks that fit a Cortex-M0 together, four rows each, and their C files."""
    made = sorted(map(c_network, range(24)), key=lambda pair: pair[0].macs)[:16]
    models, rows = zip(*made, strict=True)
    rows = [part[:ROWS] for part in rows]
    folder = tmp_path_factory.mktemp("networks")
    sources = write_networks(models, folder)
    arrays = "".join(_rows_in_c(f"net{index}", part) for index, part in enumerate(rows))
    (folder / "rows.h").write_text(arrays, encoding="utf-8")
    return models, rows, folder, sources


def _rows_in_c(name, rows):
    """Float32 by their bits: C99 has no literal for NaN."""
    words = ",\n".join(", ".join(f"0x{word:08x}u" for word in row) for row in rows.view(np.uint32))
    return (
        f"static const uint32_t {name}_bits[{len(rows)}][{rows.shape[1]}] = {{{words}}};\n"
        f"static const float (*const {name}_rows)[{rows.shape[1]}] = (const void *){name}_bits;\n"
        f"enum {{ {name}_count = {len(rows)} }};\n"
    )


@pytest.mark.parametrize("core", CORES)
def test_adversarial_networks_have_the_engines_checksums(core, networks):
    """Logits by checksum, hidden layers by the self-tests, with and without a floating-point unit."""
    models, rows, folder, sources = networks
    selftests = [f"-D{source.stem.upper()}_SELFTEST" for source in sources]
    flags = ("-O2", "-std=gnu99", "-I", folder, *selftests)
    firmware = build(CORES[core], [*sources, PROGRAMS / "answer_firmware.c"], folder / f"{core}.elf", *flags)
    expected = [zlib.crc32(Engine(model).logits(part)) for model, part in zip(models, rows, strict=True)]
    assert emulate(CORES[core], firmware) == {f"net{index}": crc for index, crc in enumerate(expected)}


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("kept", ["float16", "float32", "int4"])
def test_mixed_models_compile_without_a_warning(core, kept, tmp_path):
    """At every level of optimization, each layer in turn of another precision: widths with and without a remainder."""
    command = [tool("arm-none-eabi-gcc"), "-mthumb", *CORES[core].flags, "-std=c99", "-c", *WARNINGS]
    for sizes in ((12, 24, 16, 4), (9, 7, 6, 3)):
        model, rows = random_model(list(sizes), ["relu", "relu", "softmax"]), random_rows(64, sizes[0])
        for layer in model.layers:
            mixed = quantize(model, rows, "int8", "minmax", keep={layer.name: kept}, test_vectors=2)
            write_c(mixed, tmp_path, "net")
            for level in ("-Os", "-O2", "-O3"):
                run([*command, level, tmp_path / "net.c", "-o", tmp_path / "net.o"])


@pytest.mark.parametrize(("network", "core"), FIGURES)
def test_what_a_network_takes(network, core, tmp_path):
    """Within 3 % of the figures both ways, and on a Cortex-M4F within the budget; a surprise saving is news too."""
    version = run([tool("arm-none-eabi-gcc"), "-dumpversion"])
    model = measured_network(network)
    write_c(model, tmp_path, "net")
    codes = np.random.default_rng(0).integers(0, 256, model.n_in).astype(np.uint8)
    cost, crc = measure(CORES[core], tmp_path, [tmp_path / "net.c"], codes, "-O2", "-std=c99")
    found = (cost.flash, cost.ram, cost.instructions)
    assert crc == zlib.crc32(Engine(model).logits(dequantize(codes, model.layers[0].input)[None]))
    assert cost.stack <= STACK
    if core == "M4F":
        assert all(value <= budget for value, budget in zip(found, BUDGETS[network], strict=True)), found
    if version.startswith(GCC):
        assert found == pytest.approx(FIGURES[network, core], rel=0.03), "update this figure and the pages together"
