"""Where exported C spends its time, it calls nothing."""

import pytest

from export.c_writer import write_c
from tests.c.firmware import CORES, build
from tests.c.generated import PROGRAMS
from tests.c.machine_code import calls, functions, inner_loops
from tests.c.networks import featured_networks


@pytest.mark.parametrize("flags", ["-Os", "-O2", "-O3 -ffreestanding"])
@pytest.mark.parametrize("core", ["M0", "M3", "M4F", "M33"])
@pytest.mark.parametrize("network", [0, 5], ids=["int8", "int4"])
def test_the_inner_loops_call_nothing(core, flags, network, tmp_path):
    """A peer lost a factor of 3.5 to calls of memcpy, which freestanding builds do not replace by instructions."""
    write_c(featured_networks()[network], tmp_path, "net")
    (tmp_path / "codes.h").write_text("static const uint8_t codes[NET_N_IN];\n", encoding="utf-8")
    sources = [tmp_path / "net.c", PROGRAMS / "measure_firmware.c"]
    program = build(CORES[core], sources, tmp_path / "firmware.elf", "-std=c99", "-I", tmp_path, *flags.split())
    loops = [loop for function in functions(program, "net_").values() for loop in inner_loops(function)]
    assert len(loops) >= 8, "four outputs, and four inputs of one, and what is left of both"
    assert not any(map(calls, loops)), loops
