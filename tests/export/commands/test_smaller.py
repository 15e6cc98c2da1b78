"""What is said to fit is exported in earnest, loaded, and run within the budget."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edge_runtime import BudgetExceeded, Engine, Limits, load, save
from export.commands.smaller import smaller_exports
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
from tests.command import run_command
from tests.networks import random_model, random_rows

SIZES = [64, 32, 10]


@pytest.fixture
def stored(tmp_path):
    """A float32 model in a file, with eight test vectors, and calibration rows beside it."""
    rows = random_rows(100, SIZES[0])
    save(with_test_vectors(random_model(SIZES, ["relu", "softmax"], standardize=True), rows, 8), tmp_path / "m.npz")
    np.savez(tmp_path / "rows.npz", x=rows)
    return tmp_path


def refusal(path, limits, mmap=False):
    with pytest.raises(BudgetExceeded) as caught:
        Engine(load(path, mmap=mmap), limits)
    return caught.value


@pytest.mark.parametrize("limit", ["ram_bytes", "flash_bytes"])
@pytest.mark.parametrize("mmap", [False, True])
def test_each_export_that_is_named_needs_what_is_said(limit, mmap, stored):
    """float16 to the byte; int8 and int4 no more than is said, and less by a header's letters at most."""
    error = refusal(stored / "m.npz", Limits(**{limit: 100}), mmap)
    options = smaller_exports(error)
    assert any("float16" in option.change for option in options)
    assert any("int8" in option.change for option in options)
    assert any("int4" in option.change for option in options)
    for option in options:
        words = option.change.replace("DATA", str(stored / "rows.npz")).partition(", then ")
        out = stored / "out"
        data = [] if "--calibrate" in words[0] else ["--calibrate", stored / "rows.npz"]  # test vectors come of it
        made = run_command("export", stored / "m.npz", *words[0].split()[1:], *data, "--out", out, "--force")
        assert made.exit_code == 0, made.output
        path = out / f"m.{words[0].split()[2]}.npz"
        need = refusal(path, Limits(**{limit: 100}), mmap="--mmap" in words[2]).need_bytes
        slack = 1024 if "int" in option.change else 0
        assert option.need_bytes - slack <= need <= option.need_bytes
        if mmap and limit == "ram_bytes":
            assert "--mmap" in option.change


def test_a_command_names_them(stored):
    """In the message of a refusal, beside what an engine can do by itself; the bytes are right."""
    need = refusal(stored / "m.npz", Limits(ram_bytes=100)).need_bytes
    result = run_command("run", stored / "m.npz", "--input", stored / "rows.npz", "--ram-bytes", str(need - 1))
    assert result.exit_code == 1
    assert "what would fit: --mmap (" in result.stderr
    found = re.search(r"export --precision float16 \(([\d,]+) B\)", result.stderr)
    assert found is not None
    assert int(found[1].replace(",", "")) < need
    assert "--calibrate DATA" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic"])
def test_of_int8_models_nothing_smaller_is_made(precision):
    """They have no float weights to begin with."""
    rows = random_rows(50, 64)
    model = quantize(random_model(SIZES, ["relu", "softmax"]), rows, precision)
    with pytest.raises(BudgetExceeded) as caught:
        Engine(model, Limits(ram_bytes=10))
    assert smaller_exports(caught.value) == []


def test_other_refusals_are_left_alone():
    """A budget of training, say, which is about no model."""
    assert smaller_exports(BudgetExceeded("too large", need_bytes=5, have_bytes=1)) == []
