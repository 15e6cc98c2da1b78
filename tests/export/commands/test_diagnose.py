"""`smallnet diagnose`: the training rows calibrate, the held-out rows judge, one sentence decides."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import save
from export import diagnose, quantize
from export.commands.data import rows_for_export
from tests.command import run_command
from tests.export.diagnosis.damage import random_case, with_grid_scaled, with_outlier

CASE = random_case(5)  # a trained classifier
MODEL = replace(CASE.model, metadata={"target": "class", "seed": "3"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, one damaged copy, and one int8 version with a range that is too small."""
    folder = tmp_path_factory.mktemp("diagnose")
    rows = np.concatenate([CASE.calibration, CASE.rows])
    rng = np.random.default_rng(0)
    save(MODEL, folder / "m.npz")
    save(with_outlier(CASE, 0, rng).model, folder / "outlier.npz")
    small = quantize(MODEL, CASE.calibration, method="minmax")
    save(with_grid_scaled(small, 0, 0.05), folder / "small.npz")
    np.savez(folder / "rows.npz", x=rows, y=rng.integers(0, MODEL.n_out, len(rows)))
    np.savez(folder / "x.npz", x=rows)
    return folder


def test_a_sound_network_has_nothing_to_mend(folder):
    """In lines that fit like those above it; in one with --wide."""
    for options in ((), ("--wide",)):
        result = run_command("diagnose", folder / "m.npz", "--data", folder / "rows.npz", *options)
        assert result.exit_code == 0, result.output
        assert sentence(result).startswith("nothing to mend: int8 loses ")
        assert (max(map(len, result.stdout.splitlines())) <= 80) == (not options)


def sentence(result):
    """The last paragraph, without its breaks."""
    return " ".join(result.stdout.split("\n\n")[-1].split())


def test_other_rows_judge_than_those_that_train_held_out(folder, tmp_path):
    """All of the data, or all of other data than what calibrates; how many calibrate too is said."""
    arguments = ("diagnose", folder / "m.npz", "--json", "--data")
    count = len(CASE.calibration) + len(CASE.rows)
    whole = run_command(*arguments, folder / "rows.npz", "--all-rows")
    assert json.loads(whole.stdout)["rows"] == count
    shared = f"420 of the {count} rows that judge calibrate too"
    assert shared in " ".join(whole.stderr.split())
    assert json.loads(whole.stdout)["notes"][0].startswith(shared)
    np.savez(tmp_path / "new.npz", x=CASE.rows, y=CASE.labels)
    other = run_command(*arguments, tmp_path / "new.npz", "--calibrate", folder / "rows.npz")
    facts = json.loads(other.stdout)
    assert facts["rows"] == len(CASE.rows) == facts["small"]["rows"]
    calibration = rows_for_export(MODEL, str(folder / "rows.npz")).calibration
    wanted = diagnose(MODEL, CASE.rows, CASE.labels, calibration=calibration)
    assert facts["verdict"] == wanted.verdict
    assert f"145 of the {len(CASE.rows)} rows that judge calibrate too" in " ".join(other.stderr.split())
    np.savez(tmp_path / "x.npz", x=CASE.rows)
    unlabelled = run_command(*arguments, tmp_path / "x.npz", "--all-rows")
    assert "the data has no labels: no accuracy" in unlabelled.stderr


def test_rows_without_their_labels_are_not_those_that_train_held_out(folder):
    """Which is said in one line and in JSON; not where all rows are asked for, nor where labels are there."""
    arguments = ("diagnose", folder / "m.npz", "--json", "--data")
    found = run_command(*arguments, folder / "x.npz")
    said = "the rows that 'train' held out cannot be found again without their labels"
    assert json.loads(found.stdout)["notes"][0].startswith(said)
    assert said in " ".join(found.stderr.split())
    for options in (("x.npz", "--all-rows"), ("rows.npz",)):
        other = run_command(*arguments, folder / options[0], *options[1:])
        assert said not in " ".join(other.stderr.split())


def test_of_more_rows_than_memory_holds_how_many_are_looked_at_is_said(folder, tmp_path):
    """In the sentence, in JSON and in the help."""
    np.savez(tmp_path / "many.npz", x=np.tile(CASE.rows, (25, 1)))
    arguments = ("diagnose", folder / "m.npz", folder / "small.npz", "--data", tmp_path / "many.npz", "--all-rows")
    facts = json.loads(run_command(*arguments, "--json").stdout)
    assert (facts["rows"], facts["rows_in_all"]) == (4096, 5000)
    assert "; on 4,096 of the 5,000 rows, spread evenly" in facts["verdict"]
    assert "or 4,096, so many are looked at" in " ".join(run_command("diagnose", "--help").stdout.split())


def test_a_small_model_that_is_given_is_looked_at(folder):
    """Its range that saturates is named, and what mends it, with the option."""
    result = run_command("diagnose", folder / "m.npz", folder / "small.npz", "--data", folder / "rows.npz")
    assert result.exit_code == 0, result.output
    verdict = sentence(result)
    assert verdict.startswith("layer 'dense0': its range saturates: its outputs reach ")
    assert "calibration saw" in verdict


def test_json_has_all_that_the_library_says(folder):
    """As plain data, which JSON can hold."""
    arguments = ("diagnose", folder / "outlier.npz", "--data", folder / "rows.npz", "--json")
    facts = json.loads(run_command(*arguments).stdout, parse_constant=pytest.fail)
    assert facts["worst"] == facts["layers"][0]["name"] == "dense0"
    assert facts["findings"][0]["kind"] == "outlier"
    assert set(facts) - {"file", "small_file"} == set(diagnose(MODEL, CASE.rows, method="minmax").as_dict())


@pytest.mark.parametrize("precision", ["int8-dynamic", "float16", "int4"])
def test_other_precisions_are_asked_for_by_name(folder, precision):
    """And said in the sentence."""
    result = run_command("diagnose", folder / "m.npz", "--data", folder / "rows.npz", "--precision", precision)
    assert result.exit_code == 0, result.output
    assert precision in sentence(result)


def test_a_small_model_and_a_precision_are_one_too_many(folder):
    """The small model has its own."""
    arguments = ("diagnose", folder / "m.npz", folder / "small.npz", "--data", folder / "rows.npz")
    result = run_command(*arguments, "--precision", "int8")
    assert result.exit_code == 2
    assert "expected one of the two" in result.stderr


def test_two_models_that_have_nothing_to_do_with_one_another_are_refused(folder, tmp_path):
    """With the layers of both."""
    save(random_case(3).model, tmp_path / "other.npz")
    result = run_command("diagnose", folder / "m.npz", tmp_path / "other.npz", "--data", folder / "rows.npz")
    assert result.exit_code == 2
    assert "give the float model that it was made of" in result.stderr
