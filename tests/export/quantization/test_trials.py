"""The way to int8 is chosen by what it does on rows kept apart, and switches hold."""

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine
from edge_runtime.errors import CalibrationError, QuantizationError
from export.quantization.fidelity import sqnr_db
from export.quantization.quantizer import quantize, quantize_beside
from export.quantization.recipe import Recipe, Switches
from export.quantization.trials import _closest, ladder
from tests.networks import random_model, random_rows

ROWS = random_rows(600, 30)


def unequal_model():
    """Hidden units of very different ranges: what equalization is for."""
    model = random_model([30, 24, 4], ["relu", "linear"])
    factor = np.float32(2.0) ** -(np.arange(0, 24, dtype=np.float32) ** 0.7)
    first, last = model.layers
    first = replace(first, weight=first.weight * factor, bias=first.bias * factor)
    return replace(model, layers=(first, replace(last, weight=last.weight / factor[:, None])))


def correlated_model_and_rows():
    """Inputs that move together, as pixels do: what compensated rounding and bias correction are for."""
    rows = (random_rows(800, 6) @ np.random.default_rng(1).normal(size=(6, 60))).astype(np.float32) + np.float32(2)
    return random_model([60, 40, 40, 40, 5], ["relu", "relu", "relu", "linear"]), rows


def decibels(model, small, rows):
    return sqnr_db(Engine(model).logits(rows), Engine(small).logits(rows))


def test_what_is_chosen_is_the_best_of_what_was_tried():
    """The metadata name the recipe with the most decibels on the held-out rows."""
    told = {}
    small = quantize(unequal_model(), ROWS, on_choice=told.update)
    assert small.metadata["calibration"] == f"{max(told, key=told.get)}, 600 rows"
    assert "equalized" in small.metadata["calibration"]


def test_each_step_helps_where_it_is_meant_to():
    """On rows that it never saw: equalization by 3 dB and more, compensated rounding and bias correction by 1 each."""
    model = unequal_model()
    plain, equalized = (quantize(model, ROWS, method="minmax", equalization=is_on) for is_on in (False, True))
    assert decibels(model, equalized, random_rows(300, 30)) > decibels(model, plain, random_rows(300, 30)) + 3
    model, rows = correlated_model_and_rows()
    rows, fresh = rows[:500], rows[500:]
    found = {
        name: decibels(model, quantize(model, rows, method="minmax", **switches), fresh)
        for name, switches in {
            "plain": {},
            "bias": {"bias_correction": True},
            "rounding": {"rounding": "compensated"},
        }.items()
    }
    assert found["rounding"] > found["plain"] + 1
    assert found["bias"] > found["plain"]


def test_a_method_that_is_named_does_nothing_else():
    """Unless it is asked for: the same weights as with everything off."""
    model = unequal_model()
    named = quantize(model, ROWS, method="mse")
    off = quantize(model, ROWS, method="mse", equalization=False, bias_correction=False, rounding="nearest")
    for one, other in zip(named.layers, off.layers, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
    assert named.metadata["calibration"] == "mse, 600 rows"


@pytest.mark.parametrize("switch", [{"equalization": False}, {"bias_correction": False}, {"rounding": "nearest"}])
def test_what_is_switched_off_is_not_tried(switch):
    """Of no name that was tried."""
    told = {}
    quantize(unequal_model(), ROWS, on_choice=told.update, **switch)
    word = {"equalization": "equalized", "bias_correction": "bias correction", "rounding": "compensated"}
    (name,) = switch
    assert told
    assert not any(word[name] in text for text in told)


def test_what_is_switched_on_is_in_all_that_is_tried():
    """And in what is taken."""
    told = {}
    quantize(
        unequal_model(), ROWS, on_choice=told.update, equalization=True, bias_correction=True, rounding="compensated"
    )
    assert len(told) == 4
    assert all(text.endswith("equalized, bias correction, compensated rounding") for text in told)


def test_the_float_network_beside_it_has_its_units():
    """Each hidden tensor of the int8 model is near the one of `source`, whatever was chosen."""
    found = quantize_beside(unequal_model(), ROWS, "int8", Switches())
    assert found.source.precision == "float32"
    expected = Engine(unequal_model()).run(ROWS)
    np.testing.assert_allclose(Engine(found.source).run(ROWS), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    scale = found.model.layers[0].output.scale
    hidden = replace(found.source, layers=found.source.layers[:1])
    assert Engine(hidden).run(ROWS).max() <= 255 * scale * 1.5


def test_the_same_rows_give_the_same_model():
    """Twice, and in batches of any size."""
    model, rows = correlated_model_and_rows()
    one, two = quantize(model, rows), quantize(model, [rows[:100], rows[100:101], rows[101:]])
    for a, b in zip(one.layers, two.layers, strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)
        np.testing.assert_array_equal(a.bias, b.bias)


def test_what_is_chosen_is_made_of_all_rows():
    """Once the choice is made, those it was judged on count too: the same bits as the recipe that is named."""
    model, rows = correlated_model_and_rows()
    chosen = quantize(model, rows)
    is_equalized = "equalized" in chosen.metadata["calibration"]
    assert chosen.metadata["calibration"].endswith("bias correction, compensated rounding, 800 rows")
    steps = {"equalization": is_equalized, "bias_correction": True, "rounding": "compensated"}
    named = quantize(model, rows, method=chosen.metadata["calibration"].split(",")[0], **steps)
    for a, b in zip(chosen.layers, named.layers, strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)
        np.testing.assert_array_equal(a.bias, b.bias)


def test_rows_that_come_once_are_not_equalized():
    """An iterator is read once: the step that reads twice is left out, or refused where it is asked for."""
    told = {}
    quantize(unequal_model(), iter([ROWS]), on_choice=told.update)
    assert len(told) == 6
    assert not any("equalized" in text for text in told)
    with pytest.raises(CalibrationError, match="reads the calibration rows twice, found an iterator"):
        quantize(unequal_model(), iter([ROWS]), equalization=True)


def test_a_step_that_cannot_be_exact_is_passed_over(monkeypatch):
    """Another is taken. Where the plainest cannot be, the refusal is told."""
    from export.quantization import trials

    plain = trials.CalibratedNetwork.int8

    def refusing(self, recipe):
        if recipe.equalization:
            raise QuantizationError("no")
        return plain(self, recipe)

    monkeypatch.setattr(trials.CalibratedNetwork, "int8", refusing)
    assert "equalized" not in quantize(unequal_model(), ROWS).metadata["calibration"]


@pytest.mark.parametrize(
    ("switch", "text"),
    [
        ({"rounding": "up"}, "rounding is 'up', expected one of nearest, compensated"),
        ({"equalization": "no"}, "equalization is 'no', expected True or False"),
        ({"bias_correction": 1}, "bias_correction is 1, expected True or False"),
        ({"method": "best"}, "method is 'best', expected one of minmax, percentile, mse, entropy, auto"),
    ],
)
def test_switches_that_are_none_are_refused(switch, text):
    """By name, with what would do."""
    with pytest.raises(QuantizationError, match=text):
        quantize(unequal_model(), ROWS, **switch)


def test_a_recipe_says_itself():
    """In the words of the metadata."""
    assert str(Recipe()) == "minmax"
    assert str(Recipe("mse", True, True, "compensated")) == "mse, equalized, bias correction, compensated rounding"


def test_the_ladder_names_the_steps_that_led_to_what_was_taken():
    """The plainest way first, then what was added, each with its decibels; short, for it lies in the artifact."""
    taken = Recipe("mse", True, True, "compensated")
    tried = {"minmax": 38.0, "mse": 37.0, "mse, equalized": 38.5}
    tried |= {"mse, equalized, bias correction": 39.04, "mse, equalized, bias correction, compensated rounding": 39.8}
    expected = "minmax 38.0, mse, equalized 38.5, bias correction 39.0, compensated rounding 39.8 dB"
    assert ladder(taken, tried) == expected
    assert ladder(Recipe("minmax"), tried) == "minmax 38.0 dB"
    assert ladder(Recipe("mse", True), tried) == "minmax 38.0, mse, equalized 38.5 dB"
    told = {}
    small = quantize(unequal_model(), ROWS, on_choice=told.update)
    assert small.metadata["calibration_ladder"].endswith(f" {max(told.values()):.1f} dB")


@pytest.mark.parametrize(("error_of_minmax", "taken"), [(1.1, "minmax"), (1.2, "mse")])
def test_a_narrower_range_has_to_be_half_a_decibel_better(error_of_minmax, taken):
    """A range that saturates is taken for what it clearly gains, not for the luck of some hundred rows."""
    reference = np.zeros((1, 1), np.float32)
    found = {Recipe("minmax"): np.full((1, 1), np.sqrt(error_of_minmax)), Recipe("mse"): np.ones((1, 1))}
    assert _closest(reference, found).method == taken


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_progress_counts_every_way_to_the_last(precision):
    """One after another, of as many as are tried; with a method that is named nothing is tried, and nothing told."""
    model, rows = random_model([6, 5, 3], ["relu", "softmax"]), random_rows(60, 6)
    told, seen = [], []
    quantize_beside(model, rows, precision, Switches("minmax"), 0, None, lambda *counts: told.append(counts))
    assert told == []
    quantize_beside(model, rows, precision, Switches(), 0, seen.append, lambda *counts: told.append(counts))
    ways = len(seen[0])
    assert told == [(done, ways) for done in range(1, ways + 1)]


def test_several_targets_count_alike_in_the_choice_whatever_their_units():
    """Scaled by powers of two, outputs give the same choice with the same decibels; one signal is judged as a whole."""
    model = random_model([30, 24, 3], ["relu", "linear"], 5)
    last = model.layers[1]
    factor = np.float32([1024, 2.0**-10, 1])
    units = replace(last, weight=last.weight * factor, bias=last.bias * factor)
    told = []
    for layer in (last, units):
        made = replace(model, layers=(model.layers[0], layer), metadata={"target": "regression"})
        found = {}
        quantize(made, ROWS, on_choice=found.update)
        told.append(found)
    assert told[0] == pytest.approx(told[1], abs=0.01)
    summed = {}
    signal = replace(model, layers=(model.layers[0], units), metadata={"target": "autoencoder"})
    quantize(signal, ROWS, on_choice=summed.update)
    assert summed != pytest.approx(told[1], abs=0.01)


class _BadTheSecondTime:
    """Batches of rows: the second time that they are read, one has another width."""

    def __init__(self, rows):
        self.rows, self.times = rows, 0

    def __iter__(self):
        self.times += 1
        return iter([self.rows if self.times < 2 else self.rows[:, 1:]])


def test_rows_that_turn_bad_are_refused_and_not_passed_over():
    """A way that cannot be exact is no choice; rows that cannot be read are an error, whichever way reads them."""
    model = random_model([6, 8, 3], ["relu", "linear"])
    with pytest.raises(CalibrationError, match="expected"):
        quantize(model, _BadTheSecondTime(random_rows(200, 6)), "int8")
