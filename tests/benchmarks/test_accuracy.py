from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import _quantizers, accuracy
from benchmarks._accuracy_table import Score, Table, around
from benchmarks._networks import Case, Design
from benchmarks._quantizers import (
    CHOSEN,
    FINE_TUNED,
    STEPS,
    Peer,
    Small,
    Way,
    fine_tuned,
    installed,
    ours,
    without_rows,
)
from edge_runtime import Dense, Engine, Model
from edge_runtime.numerics import Activation

INT8 = Way("int8", "", CHOSEN)


@pytest.fixture(scope="module")
def case():
    """A classifier of 12 features with labels that are its own answers, but for the first rows."""
    rng = np.random.default_rng(3)
    layers = (
        Dense("a", rng.normal(size=(12, 8)).astype(np.float32), np.zeros(8, np.float32), Activation("relu")),
        Dense("b", rng.normal(size=(8, 3)).astype(np.float32), np.arange(3, dtype=np.float32), Activation("softmax")),
    )
    rows = rng.normal(size=(400, 12)).astype(np.float32)
    logits = np.maximum(rows @ layers[0].weight, 0) @ layers[1].weight + layers[1].bias
    labels = logits.argmax(axis=1)
    labels[:4] = (labels[:4] + 1) % 3
    return Case(Model(layers), rows[:200], rows, labels, rows[:200], rows[200:])


def test_each_way_of_ours_answers_all_test_rows(case):
    """Each step at each precision; 3 bits use 8 whole numbers, and leave int4 as it was."""
    found = list(ours(case))
    assert [small.way.name for small in found] == list(STEPS) * len(_quantizers.PRECISIONS)
    assert all(small.logits.shape == (400, 3) for small in found)
    small = _quantizers._quantized(case, "3 bits", {"method": "minmax"})
    assert all(-4 <= layer.weight.min() < layer.weight.max() == 3 for layer in small.layers)
    assert _quantizers._quantized(case, "int4", {"method": "minmax"}).layers[0].weight.max() == 7


@pytest.mark.filterwarnings("ignore:no epoch was better")
def test_what_is_trained_further_answers_too(case):
    """int8 and int4 of a classifier; an autoencoder is left out."""
    found = list(fine_tuned(case))
    assert [small.way for small in found] == [Way("int8", "", FINE_TUNED), Way("int4", "", FINE_TUNED)]
    assert all(small.logits.shape == (400, 3) for small in found)
    assert not list(fine_tuned(replace(case, labels=None)))


def case_logits(case):
    """What the float network answers."""
    return Engine(case.model).logits(case.test)


def table_of(case, *ways, **design):
    """A table in which each way has logits that are off by an amount: 0 is the float network's."""
    table = Table(Design("net", "fashion", (8,), **design))
    table.refer_to(case)
    table.begin(case)
    logits = case_logits(case)
    noise = np.random.default_rng(1).normal(size=logits.shape)
    for way, amount in ways:
        table.add(case, Small(way, (logits + amount * noise).astype(np.float32)))
    return table


def test_points_and_decibels_stand_in_the_table(case, capsys):
    """A line for each way, a column for each precision; what float32 reaches stands above."""
    assert table_of(case, (INT8, 1e-6)).print()
    lines = capsys.readouterr().out.splitlines()
    assert "## net, 1 seeds; float32 99.00 (99.00..99.00)" in lines
    assert "| | int8 |" in lines
    assert any(line.startswith("| as chosen | 1") and line.endswith(" (0.00) |") for line in lines)
    assert "int8 as chosen loses 0.00 points, at most 0.1" in lines


def test_what_is_missed_is_said_and_gives_the_status(case, capsys):
    """Points lost, decibels of an autoencoder, and another tool that is ahead."""
    assert not table_of(case, (INT8, 5.0)).print()
    assert "at most 0.1  MISSED" in capsys.readouterr().out
    assert not table_of(case, (INT8, 1.0), is_autoencoder=True, batch_norm=True).print()
    assert "at least 40  MISSED" in capsys.readouterr().out
    assert not table_of(case, (INT8, 1e-3), (Way("int8", "other", "a"), 1e-4), is_autoencoder=True).print()
    assert "int8 as chosen beside other, a: -20.0 (-20.0..-20.0) dB  MISSED" in capsys.readouterr().out
    assert table_of(case, (INT8, 1e-3), (Way("int4", "other", "a"), 1e-4), is_autoencoder=True).print()


def test_of_another_tool_the_best_settings_are_printed(case, capsys):
    """By decibels and by points, out of all that it has, and which they are."""
    ways = [(Way("int8", "other", name), noise) for name, noise in {"a": 0.5, "b": 1e-3, "c": 2.0}.items()]
    table = table_of(case, (INT8, 1e-4), *ways)
    table.scores[Way("int8", "other", "c")] = [Score(1.0, -0.5)]
    table.print()
    out = capsys.readouterr().out
    assert "| other, fewest points lost | 1.0 (-0.50) |" in out
    assert "other, most dB: int8 b" in out
    assert "other, fewest points lost: int8 c" in out


def test_several_seeds_have_half_of_their_range():
    """Beside the mean; a single one has none, and no minus before a zero."""
    assert around([40.0, 41.0, 42.0], 1) == "41.0 \N{PLUS-MINUS SIGN}1.0"
    assert around([-0.001], 2) == "0.00"


def test_ranges_alone_are_laid_beside_rows(case):
    """By precision, with the decisions that change."""
    found = list(without_rows(case))
    assert [precision for precision, _, _ in found] == ["int8", "int8-a16", "int4"]
    assert all("decisions changed" in text for _, *texts in found for text in texts)


def test_scores_of_a_seed_come_back_from_their_file(case):
    """So that a run that was stopped goes on with the next seed."""
    before = table_of(case, (INT8, 0.1), (Way("int4", "a-tool", "a"), 0.2))
    after = Table(before.design)
    assert after.take(before.last()) == {"", "a-tool"}
    assert (after.scores, after.accuracies) == (before.scores, before.accuracies)


def test_a_tool_that_came_later_is_added_to_scores_that_are_known(case, tmp_path, monkeypatch):
    """Of the same network; what is known is not computed anew."""
    monkeypatch.setattr("benchmarks._networks.case", lambda *_: case)
    monkeypatch.setattr(_quantizers, "fine_tuned", lambda _: [])
    monkeypatch.setattr(_quantizers, "ours", lambda _: [Small(INT8, case_logits(case))])
    monkeypatch.setattr(_quantizers, "theirs", lambda _, peer: [Small(Way("int8", peer.tool, "a"), case_logits(case))])
    options = SimpleNamespace(seeds=1, epochs=1, folder=tmp_path, resume=True)
    first = accuracy._table("fashion", [Peer("by_one", "", "1")], options)
    monkeypatch.setattr(_quantizers, "ours", lambda _: pytest.fail("computed anew"))
    second = accuracy._table("fashion", [Peer("by_one", "", "1"), Peer("by_other", "", "1")], options)
    assert {way.tool for way in first.scores} == {"", "one"}
    assert {way.tool for way in second.scores} == {"", "one", "other"}
    assert {len(found) for found in second.scores.values()} == {len(second.accuracies)} == {1}


def test_tools_are_found_by_asking_each_python(tmp_path):
    """onnxruntime's is here; a program that is no Python has nothing, and is no reason to stop."""
    import sys

    assert [peer.program for peer in installed([sys.executable])] == ["by_onnxruntime"]
    assert installed([str(tmp_path / "missing")]) == []
