"""Firmware for emulated microcontrollers: build it, run it under QEMU, and read what it reports.

Instructions are counted, not cycles: QEMU knows no pipeline, no wait states of flash and no caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.c.compilers import run, tool

PROGRAMS = Path(__file__).parent / "programs"
EMULATOR = Path(__file__).parent / "emulator"
STACK = 4096
_LINK = ("-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-ffunction-sections", "-fdata-sections",
         "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments")  # fmt: skip
_FAR = (0x0, 0x400000, 0x20000000, 0x400000)


@dataclass(frozen=True)
class Core:
    """A processor and QEMU's board that has it: flags of gcc, flash and RAM as (origin, bytes) each, clock in MHz."""

    board: str
    flags: tuple[str, ...]
    clock_mhz: int
    memory: tuple[int, int, int, int] = _FAR


CORES = {
    "M0": Core("microbit", ("-mcpu=cortex-m0", "-mfloat-abi=soft"), 16, (0x0, 0x40000, 0x20000000, 0x4000)),
    "M3": Core("mps2-an385", ("-mcpu=cortex-m3", "-mfloat-abi=soft"), 25),
    "M4F": Core("mps2-an386", ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"), 25),
    "M7": Core("mps2-an500", ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"), 25),
    "M33": Core("mps2-an505", ("-mcpu=cortex-m33", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"), 20,
                (0x10000000, 0x400000, 0x38000000, 0x400000)),
}  # fmt: skip


def build(core: Core, sources: Sequence[Path], out: Path, *flags: object) -> Path:
    """Compile and link C files with the start-up code of tests/c/emulator. The test is skipped without a compiler."""
    names = ("FLASH", "FLASH_SIZE", "RAM", "RAM_SIZE")
    symbols = [f"-Wl,--defsym={name}={value}" for name, value in zip(names, core.memory, strict=True)]
    symbols += [f"-Wl,--defsym=STACK={STACK}", "-T", str(EMULATOR / "mcu.ld")]
    board = [EMULATOR / "startup.c", EMULATOR / "board.c"]
    command = [tool("arm-none-eabi-gcc"), "-mthumb", *core.flags, *_LINK, *symbols, "-I", EMULATOR, *flags]
    run([*command, *board, *sources, "-o", out, "-lm"])
    return out


def emulate(core: Core, firmware: Path, argument: int = 0, *, counted: bool = False) -> dict[str, int]:
    """Run firmware to its end; what it reported by name. counted: every instruction takes 64 ns of emulated time.

    Raises AssertionError when it ends with another status than 0: 125 after a fault.
    """
    return dict(emulated_lines(core, firmware, argument, counted=counted))


def emulated_lines(core: Core, firmware: Path, argument: int = 0, *, counted: bool = False) -> list[tuple[str, int]]:
    """The same line by line: a name may be reported more than once."""
    command = [tool("qemu-system-arm"), "-M", core.board, "-display", "none", "-serial", "none", "-monitor", "none"]
    command += ["-chardev", "stdio,id=host", "-kernel", firmware, "-semihosting-config"]
    command += [f"enable=on,target=native,chardev=host,arg=firmware,arg={argument}"]
    lines = run(command + (["-icount", "shift=6"] if counted else [])).splitlines()
    return [(name, int(value)) for name, value in (line.split("=") for line in lines)]


def instructions(core: Core, ticks: int) -> float:
    """How many instructions ran within the ticks that counted firmware reports."""
    return ticks / (core.clock_mhz * 0.064)


def sizes(firmware: Path) -> tuple[int, int]:
    """Bytes of flash (code, constants, first values) and of static RAM (variables)."""
    text, data, bss = map(int, run([tool("arm-none-eabi-size"), firmware]).splitlines()[1].split()[:3])
    return text + data, data + bss


@dataclass(frozen=True)
class Cost:
    """What a network adds to firmware and takes to run: bytes of flash, of static RAM and of stack, instructions."""

    flash: int
    ram: int
    stack: int
    instructions: int


def measure(core: Core, folder: Path, sources: Sequence[Path], codes: np.ndarray, *flags: object) -> tuple[Cost, int]:
    """The cost of net_run_u8 of `net.h` in `folder`, and the CRC-32 of its float32 answer to codes, uint8 (n_in,)."""
    numbers = ", ".join(map(str, codes.tolist()))
    (folder / "codes.h").write_text(f"static const uint8_t codes[] = {{{numbers}}};\n", encoding="utf-8")
    program = PROGRAMS / "measure_firmware.c"
    full = build(core, [*sources, program], folder / "with.elf", "-I", folder, *flags)
    bare = build(core, [program], folder / "without.elf", "-I", folder, "-DWITHOUT", *flags)
    found = emulate(core, full, counted=True)
    flash, ram = (a - b for a, b in zip(sizes(full), sizes(bare), strict=True))
    return Cost(flash, ram, found["stack"], round(instructions(core, found["ticks"]))), found["crc"]
