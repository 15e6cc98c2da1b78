"""`--backend` of the commands that run a model."""

import json

import numpy as np
import pytest

from edge_runtime import Engine, save
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
from tests.command import run_command
from tests.compilers import hide_compilers, needs_compiler
from tests.networks import random_model, random_rows


@pytest.fixture
def files(tmp_path):
    """A model and rows for it."""
    rows = random_rows(50, 6)
    model = with_test_vectors(quantize(random_model([6, 5, 3], ["relu", "linear"]), rows), rows)
    save(model, tmp_path / "m.npz")
    np.save(tmp_path / "x.npy", rows)
    return tmp_path, model, rows


@pytest.fixture
def no_compiler(tmp_path, monkeypatch):
    """A machine without one."""
    hide_compilers(monkeypatch, tmp_path)


@needs_compiler
@pytest.mark.parametrize("backend", ["native", "auto", "numpy"])
def test_run_gives_the_same_int8_bits(files, backend):
    """Whatever computes them; nothing is said where it is what was asked for."""
    folder, model, rows = files
    found = run_command(
        "run", folder / "m.npz", "--input", folder / "x.npy", "--output", folder / "y.npy", "--backend", backend
    )
    assert found.exit_code == 0
    assert found.stderr == ""
    np.testing.assert_array_equal(np.load(folder / "y.npy"), Engine(model).run(rows))


@needs_compiler
def test_selftest_says_in_json_what_computed(files):
    """`backend` is a key of its object."""
    found = run_command("selftest", files[0] / "m.npz", "--backend", "native", "--json")
    assert json.loads(found.stdout)["ok"]
    assert json.loads(found.stdout)["backend"] == "native"


def test_without_a_compiler_auto_says_in_one_line_that_numpy_computes(files, no_compiler):
    """On standard error, with the reason and what to install; in JSON as `backend_reason`."""
    folder, model, rows = files
    arguments = ("run", folder / "m.npz", "--input", folder / "x.npy", "--output", folder / "y.npy", "--backend")
    found = run_command(*arguments, "auto")
    assert found.exit_code == 0
    assert " ".join(found.stderr.split()).startswith("computed by NumPy: no C compiler found")
    np.testing.assert_array_equal(np.load(folder / "y.npy"), Engine(model).run(rows))
    told = json.loads(run_command("selftest", folder / "m.npz", "--backend", "auto", "--json").stdout)
    assert told["backend"] == "numpy"
    assert "no C compiler found" in told["backend_reason"]
    refused = run_command(*arguments, "native")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: no C compiler found")
    assert len(refused.stderr.splitlines()) == 1
