import warnings
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Dense, Engine, Limits, Model
from edge_runtime.artifact import load_bytes, save_bytes
from edge_runtime.reference import tensor_bounds, trace
from tests.memory import traced
from tests.networks import random_elementwise, random_layer_norm, random_model, random_rows, staged_model

PARTS = ["scale shift", "scale", "shift", "low high", "low", "high", "slope", "scale slope high", "", "shift slope low"]


def plainly(layer, x):
    """A stage in float64, the obvious way."""
    if hasattr(layer, "gamma"):
        d = x - x.mean(axis=-1, keepdims=True) if layer.centered else x
        d = d / np.sqrt((d * d).mean(axis=-1, keepdims=True) + layer.epsilon)
        return layer.activation(d * layer.gamma + layer.beta)
    x = x * layer.scale.astype(np.float64) + layer.shift
    if layer.slope is not None:
        x = np.where(x < 0, layer.slope * x, x)
    x = x if layer.low is None else np.maximum(x, layer.low)
    return layer.activation(x if layer.high is None else np.minimum(x, layer.high))


def float64_outputs(model, rows):
    """A float model in float64."""
    value = rows.astype(np.float64)
    if model.preprocessing is not None:
        value = model.preprocessing(rows).astype(np.float64)
    for layer in model.layers:
        if isinstance(layer, Dense):
            value = layer.activation(value @ layer.weight.astype(np.float64) + layer.bias)
        else:
            value = plainly(layer, value)
    return value


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu", "abs"])
def test_an_elementwise_stage_is_float32_arithmetic_bit_for_bit(parts, activation):
    """One multiplication, one addition, one slope, two limits, each rounded once: for one row and for many."""
    model = Model((random_elementwise(13, 3, activation, parts=parts),))
    rows = random_rows(300, 13) * 3
    expected = trace(model, rows)["map.output"]
    np.testing.assert_array_equal(Engine(model).run(rows), expected)
    np.testing.assert_array_equal(np.stack([Engine(model).run(row) for row in rows[:5]]), expected[:5])


def test_values_that_are_no_numbers_go_through_an_elementwise_stage():
    """NaN stays NaN beside limits and slopes; infinities are limited, and 0 times one of them is NaN."""
    layer = random_elementwise(5, parts="slope low high")
    model = Model((replace(layer, slope=np.float32([0, 0.5, 1, -1, 2]), low=None, high=np.full(5, 9, np.float32)),))
    rows = np.float32([[np.nan] * 5, [np.inf] * 5, [-np.inf] * 5, [-0.0] * 5])
    with np.errstate(invalid="ignore"):
        found, one = Engine(model).run(rows), np.stack([Engine(model).run(row) for row in rows])
    np.testing.assert_array_equal(found, one)
    inf, nan = np.inf, np.nan
    np.testing.assert_array_equal(found, [[nan] * 5, [9] * 5, [nan, -inf, -inf, 9, -inf], [0] * 5])


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("n", [1, 2, 7, 96, 300])
def test_one_row_and_many_normalize_to_the_same_bits(n, centered):
    """Sums run in the order of the features, whatever the number of rows, so that int8 after it stays the same too."""
    model = Model((random_layer_norm(n, 1, "linear", centered=centered),))
    rows = random_rows(300, n) * 5 + 1
    engine = Engine(model)
    many = engine.run(rows)
    np.testing.assert_array_equal(many, trace(model, rows)["norm.output"])
    np.testing.assert_array_equal(many, np.stack([engine.run(row) for row in rows]))
    for count in (2, 3, 16):
        np.testing.assert_array_equal(engine.run(rows[:count]), many[:count])


@pytest.mark.parametrize("final", ["softmax", "log_softmax"])
def test_what_depends_on_the_row_is_taken_over_the_outputs_behind_a_normalization(final):
    """Many rows stand feature by feature in memory there."""
    model = Model((random_layer_norm(5, 2, final),))
    rows = random_rows(40, 5)
    np.testing.assert_allclose(Engine(model).run(rows), float64_outputs(model, rows), rtol=1e-4)
    np.testing.assert_allclose(np.stack([Engine(model).run(row) for row in rows]), Engine(model).run(rows), rtol=1e-5)


@pytest.mark.parametrize("limits", [None, Limits(lean=True), Limits(ram_bytes=30_000)], ids=["usual", "lean", "small"])
@pytest.mark.parametrize("sizes", [[5, 4, 3], [300, 20, 20, 4], [8, 8, 8, 8, 2], [784, 1, 3]])
@pytest.mark.parametrize("final", ["softmax", "linear", "log_softmax", "leaky_relu"])
def test_a_chain_with_stages_stays_within_the_bound_of_float64(sizes, final, limits):
    """Every way that an engine runs it: one row, some, many, small blocks, lean plans."""
    model = staged_model(sizes, final=final, standardize=len(sizes) % 2 == 0)
    if limits is not None and limits.ram_bytes:
        limits = Limits(ram_bytes=30_000 + 8 * 300 * 20 + 8 * 784 * 6)
    rows = random_rows(300, sizes[0])
    expected = float64_outputs(model, rows)
    bound = tensor_bounds(model, rows)[f"{model.layers[-1].name}.output"]
    engine = Engine(model, limits)
    for count in (1, 2, 5, 64, 300):
        found = engine.run(rows[:count])
        assert (np.abs(found - expected[:count]) <= bound[:count]).all()
    np.testing.assert_array_equal(engine.run(rows[0]), engine.run(rows[:1])[0])


def test_a_stage_first_reads_the_rows_and_leaves_them_alone():
    """Rows of any layout and dtype are taken in; the caller's array is never written to."""
    model = Model((random_elementwise(4, activation="tanh"), random_layer_norm(4)))
    rows = random_rows(40, 4)
    kept = rows.copy()
    expected = Engine(model).run(rows)
    np.testing.assert_array_equal(rows, kept)
    for given in (np.asfortranarray(rows), rows.astype(np.float64), rows[::1, ::-1][:, ::-1]):
        np.testing.assert_array_equal(Engine(model).run(given), expected)


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("sizes", [[64, 48, 32, 10], [300, 40, 10]])
def test_a_run_through_stages_allocates_its_result_and_no_more(sizes, batch):
    """All steps write into the arena."""
    model = staged_model(sizes, hidden="relu", final="relu")
    layers = [replace(layer, activation=Activation.of("relu")) for layer in model.layers]
    engine = Engine(replace(model, layers=tuple(layers)), Limits(max_batch=64))
    rows = random_rows(64, sizes[0])[:batch]
    engine.run(rows)
    with traced() as peak:
        result = engine.run(rows)
    assert peak() <= result.nbytes + 1500


def test_the_plan_counts_the_arrays_of_stages():
    """Stored bytes are those of its arrays; nothing is widened, and a row's running sums are the widest LayerNorm."""
    model = staged_model([6, 5, 4])
    plan = Engine(model).plan
    assert [step.stored_bytes for step in plan.steps] == [
        sum(array.nbytes for array in layer.arrays().values()) for layer in model.layers
    ]
    assert [step.widened_bytes for step in plan.steps if step.name.startswith("stage")] == [0, 0]
    assert plan.regions["sums"].nbytes == 4 * 5
    assert "stage0" in str(plan)
    assert Engine(random_model([6, 5, 4], ["relu", "linear"])).plan.regions["sums"].nbytes == 0
    assert [row.name for row in Engine(model).profile(random_rows(3, 6), runs=2)] == [
        layer.name for layer in model.layers
    ]


def test_a_saved_model_with_stages_gives_the_same_bits():
    """Through the artifact and back: infinite limits, epsilon and all."""
    model = staged_model([9, 8, 7, 6])
    rows = random_rows(20, 9)
    again = load_bytes(save_bytes(model))
    np.testing.assert_array_equal(Engine(again).run(rows), Engine(model).run(rows))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repr(again) == repr(model)


@pytest.mark.parametrize("slope", [[0.5, 1.0, -0.5, 1e-3], [0.0, 0.5, 2.0, -3.0]])
def test_slopes_are_chosen_by_sign_bit_for_bit(slope):
    """Between 0 and 1 as a maximum, others as two summands: the same values, the infinities and NaN too."""
    layer = replace(random_elementwise(4, parts=""), slope=np.float32(slope))
    rows = np.concatenate([random_rows(50, 4), np.float32([[np.inf] * 4, [-np.inf] * 4, [np.nan] * 4, [0] * 4])])
    with np.errstate(invalid="ignore"):
        expected = np.where(rows < 0, layer.slope * rows, rows)
        np.testing.assert_array_equal(Engine(Model((layer,))).run(rows), expected)
        np.testing.assert_array_equal(np.stack([Engine(Model((layer,))).run(row) for row in rows]), expected)
