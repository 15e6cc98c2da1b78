from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Dense, Engine, Limits, Model, QuantizedDense, QuantParams, Standardization, load, save
from edge_runtime.engine.plan import (
    STACKED_BYTES,
    Drafts,
    compute_dtype,
    copy_bytes,
    is_dynamic,
    lay_plan,
    needs_scratch,
)
from edge_runtime.layers import DynamicQuantizedDense
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows, with_subnormals
from tests.plain_int8 import logits_and_hidden

NOTHING = frozenset[int]()


def int8_layer(certificate, dynamic=False):
    """A layer of one input whose certificate is this number, as near as int8-dynamic can be."""
    if dynamic:
        rows = certificate // (127 * 255) + 1
        weight = np.full((rows, 1), 127, np.int8)
        weight[-1] = (certificate - (rows - 1) * 127 * 255) // 255
        zeros = np.zeros(1, np.float32)
        return DynamicQuantizedDense("d", weight, zeros, np.ones(1, np.float32), "linear")
    return QuantizedDense(
        name="q",
        weight=np.array([[1]], np.int8),
        bias=np.array([certificate - 255], np.int32),
        multiplier=np.ones(1, np.float32),
        input=QuantParams(1.0, 0),
        output=None,
        activation="linear",
    )


@pytest.mark.parametrize(
    ("certificate", "dtype"),
    [(2**24 - 1, np.float32), (2**24, np.float64), (2**24 + 1, np.float64), (2**25, np.float64), (300, np.float32)],
)
def test_sums_that_reach_two_to_the_24_are_computed_in_float64(certificate, dtype):
    """To the integer: float32 holds every integer below it."""
    layer = int8_layer(certificate)
    assert layer.certificate == certificate
    assert compute_dtype(layer) is dtype
    assert copy_bytes(layer) == (8 if dtype is np.float64 else 2 * 4)


def test_sums_of_dynamic_layers_likewise_and_floats_never():
    """255 steps below and above the limit; the certificate is no matter of floats."""
    below, above = int8_layer(2**24 - 1, dynamic=True), int8_layer(2**24 + 255, dynamic=True)
    assert below.certificate < 2**24 <= above.certificate
    assert compute_dtype(below) is np.float32
    assert compute_dtype(above) is np.float64
    assert compute_dtype(random_model([9, 3], ["linear"]).layers[0]) is np.float32


def heavy(n_in, zero_point, activation="relu", table=False, seed=0):
    """Two layers whose sums pass 2^24 and stay below 2^25 for high inputs, odd sums among them."""
    rng = np.random.default_rng(seed)
    grid, hidden = QuantParams(1.0, zero_point), QuantParams(2.0**-12, 0)
    wide = QuantizedDense(
        name="wide",
        weight=rng.integers(88, 128, (n_in, 24)).astype(np.int8),
        bias=rng.integers(-99, 99, 24).astype(np.int32),
        multiplier=np.full(24, 255 / 2.2e7, np.float32),
        input=grid,
        output=hidden,
        activation="tanh" if table else activation,
        table=rng.permutation(256).astype(np.uint8) if table else None,
        table_output=hidden if table else None,
    )
    last = QuantizedDense(
        name="last",
        weight=rng.integers(-127, 128, (24, 6)).astype(np.int8),
        bias=rng.integers(-99, 99, 6).astype(np.int32),
        multiplier=np.ones(6, np.float32),
        input=hidden,
        output=None,
        activation="linear",
    )
    return wide, last


LIMITS = {
    "dense": Limits(),
    "lean": Limits(lean=True),
    "small blocks": Limits(max_batch=4, over="split"),
    "lean, within a budget": Limits(lean=True, ram_bytes=70_000),
    "tiles": Limits(ram_bytes=60_000),
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=list(LIMITS))
@pytest.mark.parametrize("place", ["one layer", "with a hidden layer", "with a table"])
@pytest.mark.parametrize("zero_point", [0, 3])
def test_logits_are_exact_where_sums_pass_two_to_the_24(limits, place, zero_point):
    """Against int64 sums, where float32 sums are wrong: rows that go in as high as they can, alone and together."""
    layers = heavy(700, zero_point, table=place == "with a table")
    if place == "one layer":
        layers = (replace(layers[0], output=None, activation="linear", multiplier=np.ones(24, np.float32)),)
    model = Model(layers)
    rng = np.random.default_rng(1)
    rows = rng.integers(225, 256 - zero_point, (37, 700)).astype(np.float32)
    if place == "one layer":
        sums = rows.astype(np.int64) @ layers[0].weight.astype(np.int64) + layers[0].bias
        assert 2**24 < sums.max() < 2**25
        in_float32 = rows @ layers[0].weight.astype(np.float32) + layers[0].bias.astype(np.float32)
        in_one_rounding = sums.astype(np.float32)
        assert (in_float32 != in_one_rounding).any()
    expected, _hidden = logits_and_hidden(model, rows)
    engine = Engine(model, limits)
    np.testing.assert_array_equal(engine.logits(rows), expected)
    np.testing.assert_array_equal(np.stack([engine.run(row) for row in rows]), expected)
    if limits.lean:
        assert all(step.lean for step in engine.plan.steps)
    if limits.ram_bytes:
        assert engine.plan.total_bytes <= limits.ram_bytes


def bytes_of(model, block=1, without=NOTHING, tile=1 << 20):
    plan = lay_plan(model, block, without, tile)
    return plan, {name: region.nbytes for name, region in plan.regions.items()}


def test_buffers_take_turns_and_hold_the_widest_layer_of_their_side():
    """Layers 0 and 2 read from ping and write to pong: by hand, for 8 rows of float32."""
    model = random_model([3, 50, 7, 20], ["relu", "relu", "linear"])
    plan, regions = bytes_of(model, 8)
    assert (regions["ping"], regions["pong"]) == (8 * 7 * 4, 8 * 50 * 4)
    assert (regions["row"], regions["index"], regions["wide_source"], regions["wide_target"]) == (32, 0, 0, 0)
    assert (regions["ping_ones"], regions["pong_ones"]) == (64, 64)
    assert plan.arena_bytes % 64 == 0
    assert plan.arena_bytes >= sum(regions.values())
    _plan, regions = bytes_of(random_model([3, 50, 90], ["leaky_relu", "softmax"]), 8)
    assert (regions["ping"], regions["pong"]) == (8 * 90 * 4, 8 * 90 * 4)


@pytest.mark.parametrize(("name", "needs"), [("leaky_relu", True), ("softmax", True), ("relu", False), ("gelu", False)])
def test_two_activations_work_in_a_second_array(name, needs):
    """It is the source's memory, which then has to hold the output."""
    assert needs_scratch(random_model([2, 9], [name]).layers[0]) is needs


def test_regions_of_float64_and_tables_are_as_wide_as_the_layers_that_need_them():
    """The wide layer's input and output in doubles, and an index for each value of a table's layer."""
    model = Model(heavy(700, 0, table=True))
    _plan, regions = bytes_of(model, 16)
    assert (regions["wide_source"], regions["wide_target"]) == (16 * 700 * 8, 16 * 24 * 8)
    assert regions["index"] == 16 * 24 * np.dtype(np.intp).itemsize
    assert (regions["tile"], regions["partial"]) == (0, 0)


@pytest.mark.parametrize(
    ("tile_bytes", "tile_rows"), [(1, 1), (24 * 8 - 1, 1), (24 * 8, 1), (24 * 8 * 5 + 7, 5), (10**9, 700)]
)
def test_a_tile_is_as_many_rows_as_fit_and_at_least_one(tile_bytes, tile_rows):
    """In the product's dtype; sums of parts need an array of their own, unless one tile is all."""
    model = Model(heavy(700, 0))
    plan, regions = bytes_of(model, 4, frozenset([0]), tile_bytes)
    assert (plan.steps[0].lean, plan.steps[0].tile_rows, plan.steps[1].tile_rows) == (True, tile_rows, 0)
    assert regions["tile"] == tile_rows * 24 * 8
    assert regions["partial"] == (4 * 24 * 8 if tile_rows < 700 else 0)


def test_what_is_kept_widened_is_counted_array_by_array():
    """By hand: int8 with a table and float64 sums, int8 in float32 with the bias over it, and each of them lean."""
    model = Model(heavy(700, 0, table=True))
    dense, lean = (lay_plan(model, 1, without, 1 << 20) for without in (NOTHING, frozenset([0, 1])))
    assert dense.steps[0].widened_bytes == 700 * 24 * 8 + 24 * 8 + 256 * 4
    assert dense.steps[1].widened_bytes == 25 * 6 * 4
    assert [step.stacked for step in dense.steps] == [False, True]
    assert lean.steps[0].widened_bytes == 24 * 8 + 256 * 4
    assert lean.steps[1].widened_bytes == 6 * 4
    assert dense.widened_bytes == sum(step.widened_bytes for step in dense.steps)
    assert dense.steps[0].stored_bytes == 700 * 24 + 24 * 8 + 256
    assert dense.weight_bytes == sum(step.stored_bytes for step in dense.steps)


def test_small_float32_layers_are_stacked_and_large_ones_used_as_they_are():
    """Up to 128 KiB with the bias, and never the first one where it reads the user's own rows."""
    edge = STACKED_BYTES // 4 // 128
    for rows, is_copied in ((edge - 1, True), (edge, False)):
        model = random_model([4, rows, 128], ["relu", "linear"])
        plan = lay_plan(model, 1, NOTHING, 1)
        assert [step.stacked for step in plan.steps] == [False, is_copied]
        assert plan.steps[1].widened_bytes == ((rows + 1) * 128 * 4 if is_copied else 0)
        assert not any(step.lean for step in lay_plan(model, 1, frozenset([1]), 1).steps)
    scaled = random_model([4, 5], ["linear"], standardize=True)
    assert [step.stacked for step in lay_plan(scaled, 1, NOTHING, 1).steps] == [True]
    half = quantize(random_model([4, 5], ["linear"]), None, "float16")
    assert [step.stacked for step in lay_plan(half, 1, NOTHING, 1).steps] == [True]


def test_subnormal_weights_take_a_copy_where_there_is_none():
    """A large layer that has any is copied without them; a stacked copy leaves them out by itself."""
    model = with_subnormals()
    plan = lay_plan(model, 1, NOTHING, 1)
    assert plan.steps[0].widened_bytes == model.layers[0].weight.nbytes
    scaled = replace(model, preprocessing=Standardization(np.zeros(1, "f4"), np.ones(1, "f4")))
    assert lay_plan(scaled, 1, NOTHING, 1).steps[0].widened_bytes == model.layers[0].weight.nbytes
    small = with_subnormals(5, (6, 4, 2))
    small = replace(small, preprocessing=scaled.preprocessing)
    assert lay_plan(small, 1, NOTHING, 1).steps[0].widened_bytes == 7 * 4 * 4
    assert lay_plan(small, 1, frozenset([0]), 1).steps[0].widened_bytes == 6 * 4 * 4


@pytest.mark.parametrize(
    ("activation", "arrays"),
    [("gelu", 3), ("elu", 2), ("softsign", 1), ("celu", 1.25), ("leaky_relu", 0), ("relu", 0), ("tanh", 0)],
)
def test_temporaries_are_those_of_the_hungriest_layer(activation, arrays):
    """By the row of a block; int8 has the activation as a table, the engine its own leaky_relu."""
    model = random_model([3, 40, 4], [activation, "linear"])
    assert lay_plan(model, 8, NOTHING, 1).temporary_bytes == 8 * arrays * 40 * 4
    int8 = quantize(model, random_rows(90, 3), "int8", "minmax")
    assert lay_plan(int8, 8, NOTHING, 1).temporary_bytes == 0
    last = quantize(random_model([3, 40], [activation]), random_rows(90, 3), "int8", "minmax")
    assert lay_plan(last, 8, NOTHING, 1).temporary_bytes == 8 * arrays * 40 * 4


def test_a_total_is_the_sum_of_its_parts_and_grows_with_the_block():
    """And drafts that were used before give the plan that new ones give."""
    model = quantize(random_model([40, 30, 5], ["tanh", "gelu"]), random_rows(90, 40), "int8", "minmax")
    drafts, last = Drafts(model), 0
    for block in (1, 2, 64, 256):
        for without in (NOTHING, frozenset([1]), frozenset([0, 1])):
            assert drafts.lay(block, without, 100) == lay_plan(model, block, without, 100)
        plan = drafts.lay(block, NOTHING, 100)
        parts = (plan.weight_bytes, plan.other_bytes, plan.widened_bytes, plan.arena_bytes, plan.temporary_bytes)
        assert last < plan.total_bytes == sum(parts)
        last = plan.total_bytes


def test_one_dynamic_layer_makes_a_network_dynamic():
    """Wherever it stands."""
    full = random_model([4, 4, 4], ["relu", "linear"])
    dynamic = quantize(full, precision="int8-dynamic")
    assert is_dynamic(dynamic)
    assert not is_dynamic(full)
    assert is_dynamic(Model((full.layers[0], dynamic.layers[1])))
    assert is_dynamic(Model((dynamic.layers[0], full.layers[1])))


def test_the_name_and_kind_of_a_step_are_those_of_its_layer():
    """What a printed plan says."""
    layer = Dense("a", np.ones((2, 2), np.float16), np.zeros(2, np.float32), "linear")
    step = lay_plan(Model((layer,)), 1, NOTHING, 1).steps[0]
    assert (step.name, step.kind, step.stored_bytes) == ("a", "float16", 8 + 8)


def test_mapped_weights_are_in_no_part_of_a_plan(tmp_path):
    """Read, they are the model's bytes, and what else its file holds stands beside them; mapped, neither counts."""
    model = quantize(random_model([40, 30], ["linear"]), random_rows(90, 40), "int8", "minmax")
    save(model, tmp_path / "model.npz")
    read, mapped = (lay_plan(load(tmp_path / "model.npz", mmap=kind), 4, NOTHING, 100) for kind in (False, True))
    stored = 40 * 30 + 8 * 30
    assert (read.weight_bytes, mapped.weight_bytes) == (stored, 0)
    assert read.weight_bytes + read.other_bytes == (tmp_path / "model.npz").stat().st_size
    assert mapped.other_bytes == 0
    assert read.arena_bytes + read.widened_bytes == mapped.total_bytes
