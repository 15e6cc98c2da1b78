"""Exported C files in a program that answers rows: many networks in one, so that a compiler is started once."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_runtime import Engine, Model
from export.c_writer import write_c
from tests.c.compilers import compile_c

PROGRAMS = Path(__file__).parent / "programs"
STDIO = PROGRAMS / "io_stdio.c"


def write_networks(models: Sequence[Model], folder: Path) -> list[Path]:
    """Each as netN.c and netN.h, with logits for outputs, and `networks.h` that lists them for programs/."""
    names = [f"net{index}" for index in range(len(models))]
    for model, name in zip(models, names, strict=True):
        write_c(model, folder, name, logits=True)
    includes = "".join(f'#include "{name}.h"\n' for name in names)
    table = "".join(f"    NETWORK({name}, {name.upper()}) \\\n" for name in names)
    (folder / "networks.h").write_text(f"{includes}#define NETWORKS \\\n{table}\n", encoding="utf-8")
    return [folder / f"{name}.c" for name in names]


def build_program(
    command: Sequence[str], folder: Path, sources: Sequence[Path], *flags: object, system: Path = STDIO
) -> Path:
    """programs/answer.c around the networks that `write_networks` wrote into `folder`, with their self-tests.

    system: the file that defines what programs/io.h declares.
    """
    selftests = [f"-D{source.stem.upper()}_SELFTEST" for source in sources]
    includes = ("-I", folder, "-I", PROGRAMS)
    files = [*sources, PROGRAMS / "answer.c", system]
    return compile_c(command, files, folder / "answer", *includes, *selftests, *flags)


def answers(program: Sequence[object], models: Sequence[Model], rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What `programs/answer.c` gives for the rows of each network, float32. Its own checks must hold."""
    sent = b"".join(np.uint32(len(part)).tobytes() + part.astype(np.float32).tobytes() for part in rows)
    command = [str(word) for word in program]
    result = subprocess.run(command, input=sent, capture_output=True, timeout=600)
    assert result.returncode == 0, f"{command} ended with {result.returncode}\n{result.stderr.decode()}"
    values = np.frombuffer(result.stdout, np.float32)
    ends = np.cumsum([len(part) * model.n_out for part, model in zip(rows, models, strict=True)])
    assert len(values) == ends[-1]
    return [part.reshape(-1, model.n_out) for part, model in zip(np.split(values, ends[:-1]), models, strict=True)]


def assert_bits(found: Sequence[np.ndarray], models: Sequence[Model], rows: Sequence[np.ndarray]) -> None:
    """The answers have the bits of the engine's logits."""
    for index, (values, model, part) in enumerate(zip(found, models, rows, strict=True)):
        expected = Engine(model).logits(part)
        np.testing.assert_array_equal(values.view(np.uint32), expected.view(np.uint32), f"network {index}, {model}")
