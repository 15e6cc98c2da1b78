"""What `train` stores of its training rows, and what `export` makes of it without data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import load, save
from export import with_ranges
from export.commands.ranged import MOST_ROWS_RANGED, ranged
from export.quantization.stored_ranges import RANGES_KEY, StoredRanges
from tests.command import run_command
from tests.networks import random_model, random_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that `train` wrote."""
    folder = tmp_path_factory.mktemp("ranged")
    done = run_command("train", "--data", "digits", "--hidden", "8", "--epochs", "3", "--out", folder / "net.npz")
    assert done.exit_code == 0, done.stderr
    return folder


def test_train_stores_ranges_and_export_needs_no_data(folder):
    """The note says what is left out, and what brings it; the pair is verified all the same."""
    assert StoredRanges.of(load(folder / "net.npz")).rows == 1258
    done = run_command("export", folder / "net.npz", "--out", folder / "o", "--json")
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "grids are of the ranges that 1,258 training rows had, without equalization, bias correction and" in said
    assert "--calibrate DATA brings them" in said
    (facts,) = json.loads(done.stdout)["exported"]
    assert (facts["verified"], facts["score"]) == (True, None)
    small = load(folder / "o" / "net.int8.npz")
    assert small.precision == "int8"
    assert small.test_vectors is None
    assert RANGES_KEY not in small.metadata


@pytest.mark.parametrize(("precision", "doubt"), [("int4", "dB at the outputs, expected at least 20"),
                                                 ("int8", "decisions (")])  # fmt: skip
def test_what_is_far_from_the_float_network_is_doubted_without_data_too(folder, tmp_path, precision, doubt):
    """By the same limits; the line says that the rows are random, and what would be better."""
    model = load(folder / "net.npz")
    last = model.layers[-1]
    close = replace(last, weight=last.weight * np.float32(0.01), bias=np.zeros_like(last.bias))
    close_model = with_ranges(replace(model, layers=(*model.layers[:-1], close)), random_rows(600, 64) * 4 + 8)
    save(model if precision == "int4" else close_model, tmp_path / "net.npz")
    options = () if precision == "int4" else ("--per-tensor",)
    done = run_command("export", tmp_path / "net.npz", "--precision", precision, *options, "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    text = next(text for text in json.loads(done.stdout)["exported"][0]["warnings"] if doubt in text)
    assert "on 256 rows; layer 'dense" in text
    assert "the rows are random within the stored ranges, and may be harder than real ones: --calibrate DATA" in text
    assert "--precision float16 loses less" in text


def test_a_close_copy_is_not_doubted_without_data(folder, tmp_path):
    """Without classes there are decibels alone, and those of int8 are enough."""
    rows = np.random.default_rng(1).uniform(-1, 1, (600, 6)).astype(np.float32)
    save(with_ranges(random_model([6, 12, 2], ["relu", "linear"]), rows), tmp_path / "values.npz")
    done = run_command("export", tmp_path / "values.npz", "--out", tmp_path, "--json")
    (facts,) = json.loads(done.stdout)["exported"]
    assert (facts["sqnr_db"] > 20, facts["warnings"]) == (True, [])


def test_data_win_over_what_is_stored(folder):
    """With them all is done as ever."""
    done = run_command("export", folder / "net.npz", "--calibrate", "digits", "--out", folder / "with")
    assert done.exit_code == 0, done.stderr
    assert "no data given" not in done.stderr
    model = load(folder / "with" / "net.int8.npz")
    assert len(model.test_vectors.inputs) == 8
    assert "stored" not in model.metadata["calibration"]


def test_all_precisions_and_c_can_be_had_without_data(folder, tmp_path):
    """float32 and float16 beside int8; layers that are kept; C."""
    every = ("--precision", "all", "--precision", "int4")
    assert run_command("export", folder / "net.npz", *every, "--out", tmp_path).exit_code == 0
    kept = run_command("export", folder / "net.npz", "--keep", "dense0=float16", "--format", "c", "--out", tmp_path)
    assert kept.exit_code == 0, kept.stderr
    assert (tmp_path / "net_int8.c").is_file()


def test_inspect_shows_them_in_short(folder):
    """In a line; --json has all."""
    shown = run_command("inspect", folder / "net.npz").stdout
    assert "calibration_ranges:" in shown
    assert max(map(len, shown.splitlines())) <= 100
    whole = json.loads(run_command("inspect", folder / "net.npz", "--json").stdout)["metadata"][RANGES_KEY]
    assert json.loads(whole)["rows"] == 1258


@pytest.mark.parametrize("name", ["plain.npz", "plain.onnx"])
def test_what_holds_no_ranges_says_what_to_do(folder, tmp_path, name):
    """An artifact of another origin, an ONNX file: name the option, and the precisions that need no rows."""
    save(random_model([6, 4, 2], ["relu", "softmax"]), tmp_path / "plain.npz")
    assert run_command("export", tmp_path / "plain.npz", "--precision", "float32", "--out", tmp_path).exit_code == 0
    (tmp_path / "plain.float32.onnx").rename(tmp_path / "plain.onnx")
    done = run_command("export", tmp_path / name, "--out", tmp_path / "o")
    assert done.exit_code == 2
    assert "holds no ranges of its training rows, as 'smallnet train' writes them: add --calibrate DATA" in done.stderr
    assert "--precision float16 (half the bytes) and int8-dynamic need none" in done.stderr
    assert not (tmp_path / "o").exists()


def test_ranges_of_other_weights_are_said_by_the_command(folder, tmp_path):
    """With exit status 2; data, or a precision without grids, do."""
    model = load(folder / "net.npz")
    first = model.layers[0]
    edited = replace(model, layers=(replace(first, weight=first.weight * np.float32(2)), *model.layers[1:]))
    save(edited, tmp_path / "edited.npz")
    done = run_command("export", tmp_path / "edited.npz", "--out", tmp_path)
    assert done.exit_code == 2
    assert "the calibration ranges that the model holds are those of other weights" in done.stderr
    assert run_command("export", tmp_path / "edited.npz", "--precision", "float16", "--out", tmp_path).exit_code == 0


def test_steps_that_look_at_rows_are_refused_by_the_command(folder):
    """As from Python."""
    done = run_command("export", folder / "net.npz", "--rounding", "compensated", "--out", folder / "none")
    assert (done.exit_code, "rounding looks at calibration rows" in done.stderr) == (2, True)


def test_many_rows_are_thinned_out_and_what_has_no_ranges_is_left_as_it_is():
    """Evenly; a network that no integers hold is written without."""
    model, rows = random_model([3, 4, 2], ["relu", "linear"]), random_rows(MOST_ROWS_RANGED * 2, 3)
    assert StoredRanges.of(ranged(model, rows)).rows == MOST_ROWS_RANGED
    few = rows[:50] * np.float32(1e-38)
    assert ranged(model, few) is model
    assert ranged(model, rows[:50]).metadata == with_ranges(model, rows[:50]).metadata
