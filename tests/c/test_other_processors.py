"""The same bits on 64-bit Arm and RISC-V, under qemu: the sign of char and fused multiplications differ there."""

from __future__ import annotations

import shutil

import pytest

from tests.c.compilers import INSTALL, tool
from tests.c.firmware import EMULATOR
from tests.c.generated import answers, assert_bits, build_program, write_networks
from tests.c.networks import c_network

NETWORKS = 12
# clang compiles for every processor, given the linker of LLVM; Debian's gcc is one for each
COMPILERS = {
    "arm64": [("clang", "--target=aarch64-linux-gnu"), ("aarch64-linux-gnu-gcc",)],
    "riscv64": [
        ("clang", "--target=riscv64-linux-gnu", "-march=rv64gc", "-mabi=lp64d"),
        ("riscv64-linux-gnu-gcc", "-Wl,--no-relax"),  # no start-up code sets the register that relaxed code uses
    ],
}
EMULATORS = {"arm64": "qemu-aarch64", "riscv64": "qemu-riscv64"}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    models, rows = zip(*map(c_network, range(NETWORKS)), strict=True)
    folder = tmp_path_factory.mktemp("networks")
    return models, rows, folder, write_networks(models, folder)


def cross_compilers(machine):
    """Those of this machine; the test is skipped where there is none."""
    found = [command for command in COMPILERS[machine] if shutil.which(command[0])]
    found = [(*command, "-fuse-ld=lld") if command[0] == "clang" else command for command in found]
    found = [command for command in found if command[0] != "clang" or shutil.which("ld.lld")]
    if not found:
        pytest.skip(f"neither clang with lld nor {COMPILERS[machine][1][0]} on this machine: {INSTALL}")
    return found


@pytest.mark.parametrize("machine", COMPILERS)
def test_adversarial_networks_have_the_engines_bits(machine, networks):
    """Both processors fuse multiplications with additions where the language and the source let them."""
    models, rows, folder, sources = networks
    flags = ("-O3", "-std=gnu17", "-ffreestanding", "-nostdlib", "-static", "-ffp-contract=fast")
    for command in cross_compilers(machine):
        program = build_program(command, folder, sources, *flags, system=EMULATOR / "linux.c")
        assert_bits(answers([tool(EMULATORS[machine]), program], models, rows), models, rows)
