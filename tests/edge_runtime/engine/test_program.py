from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, Limits, Model
from edge_runtime.engine.matmul import FEW_ROWS
from edge_runtime.engine.plan import compute_dtype
from edge_runtime.engine.plan_choice import BLOCKS
from edge_runtime.engine.program import WIDE_INPUT, is_by_rows
from edge_runtime.reference.bounds import output_bound
from edge_runtime.reference.trace import logits, trace
from export.quantization.quantizer import quantize
from tests.memory import traced
from tests.networks import random_model, random_rows


@pytest.mark.parametrize(
    ("n_in", "rows", "last", "position", "expected"),
    [
        (WIDE_INPUT, FEW_ROWS + 1, "softmax", 0, True),
        (WIDE_INPUT - 1, FEW_ROWS + 1, "softmax", 0, False),
        (WIDE_INPUT, FEW_ROWS, "softmax", 0, False),
        (WIDE_INPUT, 1, "linear", 0, False),
        (4, 2, "linear", 1, True),
        (4, 2, "softmax", 1, False),
        (WIDE_INPUT, FEW_ROWS + 1, "softmax", 1, False),
        (4, 2, "log_softmax", 1, True),
    ],
)
def test_layers_run_by_rows_where_that_is_quicker(n_in, rows, last, position, expected):
    """Wide inputs of many rows throughout; a last layer unless it is a softmax, which reduces faster by features."""
    assert is_by_rows(random_model([n_in, 5, 3], ["relu", last]), position, rows) is expected


SIZES = {"narrow": [9, 7, 5, 4], "wide": [WIDE_INPUT + 3, 7, 5, 4], "widening": [3, 40, 60, 50]}


@pytest.mark.parametrize("last", ["softmax", "linear", "log_softmax", "leaky_relu"])
@pytest.mark.parametrize("hidden", ["leaky_relu", "tanh"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize("standardize", [False, True])
def test_a_program_for_any_number_of_rows_computes_the_network(precision, sizes, hidden, last, standardize):
    """One row as a vector, each block and what is left of one, outputs and logits; lean and not."""
    model = quantize(
        random_model(sizes, [hidden, hidden, last], standardize=standardize),
        random_rows(60, sizes[0]),
        precision,
        "minmax",
    )
    rows = random_rows(BLOCKS[0] + 77, sizes[0])
    for limits in (Limits(), Limits(lean=True)):
        engine = Engine(model, limits)
        for count in (1, 2, FEW_ROWS, FEW_ROWS + 1, len(rows)):
            part = rows[:count]
            expected = trace(model, part)[f"{model.layers[-1].name}.output"]
            found = engine.run(part)
            bound = output_bound(model, part, activated=True) + 1e-6
            assert (np.abs(found - expected.astype(np.float64)) <= bound).all()
            np.testing.assert_array_equal(found.argmax(axis=1)[:1], expected.argmax(axis=1)[:1])
            before = logits(model, trace(model, part))
            bound = output_bound(model, part, activated=False) + 1e-6
            assert (np.abs(engine.logits(part) - before.astype(np.float64)) <= bound).all()


def test_a_mixed_network_changes_between_floats_and_grids():
    """float, int8, float, int8: each int8 layer behind floats quantizes anew."""
    full = random_model([6, 5, 4, 3, 2], ["relu"] * 3 + ["linear"])
    int8 = [
        quantize(Model((layer,)), np.abs(random_rows(60, layer.n_in)), "int8", "minmax").layers[0]
        for layer in full.layers
    ]
    layers = (full.layers[0], int8[1], full.layers[2], int8[3])
    model = Model(tuple(replace(layer, name=f"l{index}") for index, layer in enumerate(layers)))
    rows = random_rows(90, 6)
    expected = trace(model, rows)["l3.output"]
    np.testing.assert_allclose(Engine(model).run(rows), expected, rtol=0, atol=np.abs(expected).max() * 0.02)
    np.testing.assert_allclose(
        np.stack([Engine(model).run(row) for row in rows[:5]]), Engine(model).run(rows)[:5], atol=1e-5
    )


def test_the_users_rows_are_read_and_never_written_to():
    """On each way in: straight into the product, over a grid, over a standardization, and copied."""
    rows = random_rows(70, 9)
    rows.setflags(write=False)
    for precision in ("float32", "float16", "int8"):
        for standardize in (False, True):
            model = quantize(
                random_model([9, 9], ["relu"], standardize=standardize), random_rows(60, 9), precision, "minmax"
            )
            engine = Engine(model)
            engine.run(rows)
            engine.run(rows[0])
            engine.predict(rows)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("count", [1, 20])
def test_nan_that_a_float_layer_makes_is_a_lowest_point_of_the_int8_layer_behind_it(count):
    """Infinite sums of both signs meet there: the engine's bits are those of the trace."""
    wide = replace(random_model([2, 6], ["linear"]).layers[0], name="wide", weight=np.full((2, 6), 3e38, np.float32))
    behind = quantize(random_model([6, 5, 3], ["relu", "linear"]), random_rows(60, 6), "int8", "minmax")
    model = Model((wide, *behind.layers))
    rows = np.zeros((count, 2), np.float32)
    rows[-1] = np.inf, -np.inf
    expected = trace(model, rows)["dense1.scaled"]
    np.testing.assert_array_equal(Engine(model).logits(rows), expected)
    assert np.isfinite(expected).all()


@pytest.mark.parametrize("precision", ["float16", "int8"])
@pytest.mark.parametrize("count", [1, 8])
def test_lean_weights_are_widened_in_the_arena_and_nowhere_else(precision, count):
    """A first layer that reads the user's own rows too: NumPy would widen 400 KB of its own at each run."""
    model = quantize(random_model([1000, 100], ["linear"]), random_rows(60, 1000), precision, "minmax")
    engine, rows = Engine(model, Limits(lean=True, max_batch=8)), random_rows(count, 1000)
    engine.run(rows)
    with traced() as peak:
        result = engine.run(rows)
        assert peak() < result.nbytes + (64 << 10)


def test_an_int8_layer_that_gives_floats_is_quantized_anew_by_the_next():
    """Without an output grid nothing is on the next layer's grid: the bits of the trace, one row and many."""
    full = random_model([6, 5, 4], ["relu", "linear"])
    layers = [
        quantize(Model((layer,)), np.abs(random_rows(60, layer.n_in)), "int8", "minmax").layers[0]
        for layer in full.layers
    ]
    model, rows = Model(tuple(layers)), random_rows(70, 6)
    expected = logits(model, trace(model, rows))
    np.testing.assert_array_equal(Engine(model).logits(rows), expected)
    np.testing.assert_array_equal(Engine(model).logits(rows[0]), expected[0])


WIDE_SUMS = {"first": [2500, 6, 3], "later": [5, 2500, 6], "last": [5, 6, 2500]}


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("sizes", WIDE_SUMS.values(), ids=list(WIDE_SUMS))
def test_sums_beyond_float32_s_integers_are_made_in_float64(sizes, lean):
    """2,500 inputs of weights of one size pass 2^24: the bits of the trace, in arrays that the plan knows of."""
    full = random_model(sizes, ["relu", "linear"])
    signs = [replace(layer, weight=np.sign(layer.weight).astype(np.float32)) for layer in full.layers]
    model = quantize(Model(tuple(signs)), random_rows(60, sizes[0]), "int8", "minmax")
    wide = next((at for at, layer in enumerate(model.layers) if layer.n_in == 2500), None)
    assert [compute_dtype(layer) is np.float64 for layer in model.layers] == [at == wide for at in range(2)]
    engine, rows = Engine(model, Limits(lean=lean, max_batch=40)), random_rows(40, sizes[0])
    for count in (1, 2, FEW_ROWS + 1, 40):
        np.testing.assert_array_equal(engine.logits(rows[:count]), logits(model, trace(model, rows[:count])))
    np.testing.assert_array_equal(engine.logits(rows[0]), engine.logits(rows[:1])[0])
    with traced() as peak:
        result = engine.run(rows)
        assert peak() < result.nbytes + (64 << 10)


@pytest.mark.parametrize("precision", ["float16", "int8"])
@pytest.mark.parametrize("sizes", [[3000, 90, 4], [4, 3000, 90]], ids=["first", "later"])
def test_a_lean_product_in_tiles_adds_up_in_the_arena(precision, sizes):
    """Weights that are widened some rows at a time: the whole product, without an array of its own."""
    model = quantize(random_model(sizes, ["relu", "linear"]), random_rows(60, sizes[0]), precision, "minmax")
    engine, rows = Engine(model, Limits(lean=True, max_batch=8)), random_rows(8, sizes[0])
    position = sizes.index(3000)
    assert engine.plan.steps[position].tile_rows < 3000
    bound = output_bound(model, rows, activated=False)
    for found in (engine.logits(rows), np.stack([engine.logits(row) for row in rows])):
        assert (np.abs(found - logits(model, trace(model, rows)).astype(np.float64)) <= bound).all()
    with traced() as peak:
        result = engine.run(rows)
        assert peak() < result.nbytes + (64 << 10)
