"""C for tests: generated files are compiled for this machine and run in a process of their own."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from edge_runtime.reference import logits, trace
from export.c_writer import c_files

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
_MAIN = """
#include <stdio.h>
#include "m.h"

int main(void)
{
    static float x[M_N_IN];
    static float y[M_N_OUT];
#ifdef M_SELFTEST
    m_mismatch first = {0, 0, 0, 0};

    if (m_selftest(&first) != 0) {
        printf("%d %d %d %d", (int)first.row, (int)first.layer, (int)first.index, (int)first.difference);
        return 1;
    }
    return 0;
#endif
    while (fread(x, sizeof(float), M_N_IN, stdin) == M_N_IN) {
        m_run(x, y);
        fwrite(y, sizeof(float), M_N_OUT, stdout);
    }
    return 0;
}
"""


def compiler(name="gcc"):
    """The path of a compiler; a test that needs one which is not there is skipped, and says so."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} not found on this machine")
    return found


def build(folder, contents, *flags, cc="gcc", main=_MAIN):
    """The program of a model written as "m", whose files are in `contents`, by name."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "main.c").write_text(main)
    program = folder / "program"
    sources = [folder / "m.c", folder / "main.c"]
    subprocess.run([compiler(cc), "-std=c99", *flags, *WARNINGS, *sources, "-o", program, "-lm"], check=True)
    return program


def outputs(program, rows):
    """What a program of `build` gives for float32 rows, (n, n_out)."""
    content = subprocess.run([program], input=rows.tobytes(), capture_output=True, check=True).stdout
    return np.frombuffer(content, np.float32).reshape(len(rows), -1)


def c_logits(folder, model, rows, *flags, cc="gcc"):
    """The logits that a model gives as C."""
    return outputs(build(folder, c_files(model, "m", logits=True), *flags, cc=cc), rows)


def reference_logits(model, rows):
    """The same by NumPy."""
    with np.errstate(all="ignore"):
        return logits(model, trace(model, rows))


def same_bits(first, second):
    """Whether two float32 arrays hold the same bits."""
    return first.shape == second.shape and np.array_equal(first.view(np.uint32), second.view(np.uint32))


def hostile_rows(model, n=40, seed=0):
    """Rows on ties, around and beyond the input's grid, with NaN and infinities."""
    grid = model.layers[0].input
    steps = np.random.default_rng(seed).integers(-20, 540, (n, model.n_in)) * 0.5 - grid.zero_point
    rows = (steps * np.float32(grid.scale)).astype(np.float32)
    if model.preprocessing is not None:
        rows = model.preprocessing.inverse(rows).astype(np.float32)
    rows[0, 0], rows[1, 0], rows[2, -1] = np.nan, np.inf, -np.inf
    return rows
