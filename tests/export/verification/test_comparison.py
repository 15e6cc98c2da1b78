from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, InputError
from edge_runtime.reference.bounds import SUM_ERROR, implementation_error, product_bound
from edge_runtime.reference.trace import trace, trace_layer
from export.quantization import with_test_vectors
from export.quantization.quantizer import quantize
from export.verification.comparison import (
    ONE_STEP,
    REPORTED,
    SAME_BITS,
    WITHIN_BOUND,
    TensorCheck,
    check_layer,
    check_loose_int8,
    reported,
    rows_to_compare,
    same_bits,
    within,
)
from tests.networks import random_model, random_rows

ROWS = random_rows(50, 13, seed=3)
PRECISIONS = ["float32", "float16", "int8", "int8-dynamic"]


def network(precision, activations=("tanh", "sigmoid")):
    return quantize(random_model([13, 11, 5], list(activations)), random_rows(200, 13), precision, test_vectors=0)


def checked(model, theirs, layer):
    """The checks of one layer, whose input is the trace's."""
    ours = trace(model, ROWS)
    entering = ROWS if layer is model.layers[0] else ours[f"{model.layers[0].name}.output"]
    return check_layer("default", layer, entering, ours, theirs)


def nudged(values, by):
    """A copy with one value changed, upwards or where there is no room downwards."""
    copy = values.copy()
    flat = copy.reshape(-1)
    flat[7] = int(flat[7]) + (by if flat[7] < 200 else -by) if copy.dtype == np.uint8 else flat[7] + by
    return copy


@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_value_off_is_found_in_every_tensor(precision):
    """A step of an integer, or a thousandth of a float: the check of that tensor fails with one value."""
    model = network(precision)
    ours = trace(model, ROWS)
    for name, values in ours.items():
        layer = next(layer for layer in model.layers if name.startswith(layer.name))
        assert all(check.differing == 0 for check in checked(model, ours, layer))
        wrong = {**ours, name: nudged(values, 1 if values.dtype.kind in "iu" else 1e-3)}
        found = {check.tensor: check.differing for check in checked(model, wrong, layer)}
        assert found[name] >= 1, name


@pytest.mark.parametrize("precision", PRECISIONS)
def test_another_activation_at_the_end_is_found(precision):
    """HardSigmoid in the place of Sigmoid, computed from the right values before it."""
    model = network(precision)
    ours = trace(model, ROWS)
    last = model.layers[-1]
    before = ours.get(f"{last.name}.preactivation", ours.get(f"{last.name}.scaled"))
    theirs = {**ours, f"{last.name}.output": Activation.of("hard_sigmoid")(before)}
    found = {check.tensor: check.differing for check in checked(model, theirs, last)}
    assert found[f"{last.name}.output"] > 100
    assert sum(found.values()) == found[f"{last.name}.output"]


def test_a_float_layer_has_its_bound_and_no_more():
    """The figure in the report is the bound's, and twice the bound is found in every value."""
    model = network("float32", ["tanh", "linear"])
    layer, ours = model.layers[0], trace(model, ROWS)
    bound = product_bound(layer, ROWS)
    for factor, expected in ((0.4, 0), (3, bound.size)):
        theirs = {**ours, f"{layer.name}.preactivation": ours[f"{layer.name}.preactivation"] + factor * bound}
        check = checked(model, theirs, layer)[0]
        assert check.differing == expected
        assert check.largest_bound == bound.max() < 1e-4


def test_a_final_activation_has_its_own_error_and_no_more():
    """A millionth for a sigmoid: half of it passes, three times as much does not."""
    model = network("int8")
    last, ours = model.layers[-1], trace(model, ROWS)
    name = f"{last.name}.output"
    allowed = implementation_error(last.activation, ours[name])
    for factor, expected in ((0.5, 0), (3, allowed.size)):
        theirs = {**ours, name: ours[name].astype(np.float64) + factor * allowed}
        assert checked(model, theirs, last)[-1].differing == expected


def test_bits_are_compared_and_not_values():
    """A zero of the other sign differs, and NaN is the same as itself."""
    check = same_bits("a", "t", {"t": np.float32([0.0, np.nan, 1])}, {"t": np.float32([-0.0, np.nan, 1])})
    assert (check.compared, check.differing, check.max_abs_error, check.lone_nans) == (3, 1, 0.0, 0)


def test_what_is_only_reported_still_says_how_far_it_is():
    """No rule, no failure, and the largest difference."""
    check = reported("a", "t", np.float32([0, 5]), np.float32([2, 5]))
    assert (check.rule, check.compared, check.differing, check.max_abs_error) == (REPORTED, 2, 0, 2.0)
    assert check.largest_bound == np.inf


def test_merged_checks_add_counts_and_keep_the_largest():
    """In either order."""
    one = within("a", "t", np.float32([0, 1]), np.float32([9, 1]), np.array(2.0))
    two = within("a", "t", np.float32([0, 1, np.nan]), np.float32([4, 1, 1]), np.array(3.0))
    for check in (one.merged(two), two.merged(one)):
        assert (check.compared, check.differing, check.lone_nans) == (5, 3, 1)
        assert (check.max_abs_error, check.largest_bound) == (9.0, 3.0)


@pytest.mark.parametrize("activations", [("relu", "linear"), ("tanh", "linear"), ("leaky_relu", "linear")])
def test_an_integer_of_the_qdq_form_is_off_by_a_step_only_beside_a_tie(activations):
    """The exact integers pass; one step anywhere else fails, and so do all of them moved by one."""
    model = network("int8", activations)
    layer = model.layers[0]
    exact = trace_layer(layer, ROWS)
    name = f"{layer.name}.output"
    assert [check.differing for check in check_loose_int8("a", layer, ROWS, exact)] == [0, 0]
    wrong = {**exact, name: nudged(exact[name], 1)}
    assert check_loose_int8("a", layer, ROWS, wrong)[-1].differing == 1
    moved = {**exact, name: np.where(exact[name] < 255, exact[name] + 1, 254).astype(np.uint8)}
    assert check_loose_int8("a", layer, ROWS, moved)[-1].differing > 0.98 * exact[name].size


def test_a_tie_may_be_rounded_either_way_in_the_qdq_form():
    """Sums that lie on a half: both neighbours pass, the ones beyond them do not."""
    layer = network("int8", ("relu", "linear")).layers[0]
    grid = replace(layer.output, zero_point=0)
    layer = replace(
        layer,
        weight=np.ones_like(layer.weight),
        bias=np.zeros_like(layer.bias),
        multiplier=np.full_like(layer.multiplier, 0.5),
        input=replace(layer.input, zero_point=0),
        output=grid,
    )
    entering = np.zeros((6, 13), np.uint8)
    entering[:, 0] = [1, 3, 5, 7, 9, 11]
    name = f"{layer.name}.output"
    half = np.broadcast_to(entering[:, :1] / 2, (6, 11))
    for shift, expected in ((-1.5, 66), (-0.5, 0), (0.5, 0), (1.5, 66)):
        theirs = {name: np.clip(half + shift, 0, 255).astype(np.uint8)}
        differing = check_loose_int8("a", layer, entering, theirs)[-1].differing
        assert differing == (55 if shift == -1.5 else expected)


def test_each_rule_gives_a_whole_record():
    """Level, tensor, rule, values, those that break it, the largest difference and bound, the step, NaN on one side."""
    ours, theirs = np.float32([0, 1, np.nan, 4]), np.float32([0, 3, 1, 4])
    found = same_bits("l", "t", {"t": ours}, {"t": theirs}, 0.5)
    assert found == TensorCheck("l", "t", SAME_BITS, 4, 2, 2.0, 0.0, 0.5, 1)
    assert same_bits("l", "t", {"t": ours}, {"t": theirs}).step is None
    bound = np.array([0.0, 1.0, 0.0, 0.25])
    assert within("l", "t", ours, theirs, bound) == TensorCheck("l", "t", WITHIN_BOUND, 4, 2, 2.0, 1.0, None, 1)
    found = within("l", "t", ours, theirs, np.array(2.0), ONE_STEP, 0.5)
    assert found == TensorCheck("l", "t", ONE_STEP, 4, 1, 2.0, 2.0, 0.5, 1)
    assert reported("l", "t", ours, theirs) == TensorCheck("l", "t", REPORTED, 4, 0, 2.0, np.inf, None, 1)


def test_no_values_give_no_largest_difference():
    """An empty tensor is compared without a fault."""
    empty = np.zeros((0, 3), np.float32)
    found = within("l", "t", empty, empty, np.zeros((0, 3)))
    assert (found.compared, found.differing, found.max_abs_error, found.largest_bound) == (0, 0, 0.0, 0.0)


def test_integers_are_said_in_real_units_too():
    """By the step of the tensor's own grid; an accumulator has one in each channel, and none is said."""
    model = network("int8", ("relu", "relu"))
    first, last = model.layers
    ours = trace(model, ROWS)
    steps = {check.tensor: check.step for layer in model.layers for check in checked(model, ours, layer)}
    grids = {
        f"{first.name}.quantized_input": first.input.scale,
        f"{first.name}.output": first.output.scale,
        f"{last.name}.output": last.final_grid.scale if last.final_grid is not None else None,
    }
    assert {name: steps[name] for name in grids} == grids
    assert steps[f"{first.name}.accumulator"] is None
    nudge = {**ours, f"{first.name}.output": nudged(ours[f"{first.name}.output"], 1)}
    found = {check.tensor: check for check in checked(model, nudge, first)}[f"{first.name}.output"]
    assert (found.max_abs_error, found.max_real_error) == (1.0, first.output.scale)
    assert replace(found, tensor="a.accumulator", step=None).max_real_error is None
    assert replace(found, tensor="a.output", step=None).max_real_error == 1.0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_layer_s_checks_are_of_its_own_tensors_and_level(precision):
    """All that both sides hold of it, each once, and nothing of another layer."""
    model = network(precision)
    ours = trace(model, ROWS)
    for layer in model.layers:
        checks = checked(model, ours, layer)
        assert {check.level for check in checks} == {"default"}
        names = [check.tensor for check in checks]
        assert sorted(names) == sorted(name for name in ours if name.startswith(f"{layer.name}."))
        if precision in ("int8", "int8-dynamic"):
            fewer = {name: values for name, values in ours.items() if name != names[0]}
            assert [check.tensor for check in checked(model, fewer, layer)] == names[1:]


def test_what_overflows_is_compared_without_a_warning():
    """Infinite sums and NaN behind them are values like others: equal on both sides, they pass."""
    model = network("float32", ["tanh", "linear"])
    layer = model.layers[0]
    huge = np.full((2, 13), 3e38, np.float32)
    with np.errstate(all="ignore"):
        theirs = trace_layer(layer, huge)
    with np.errstate(all="raise"):
        checks = check_layer("default", layer, huge, theirs, theirs)
    assert [check.differing for check in checks] == [0, 0]


def loose(activations):
    """Both layers of an int8 network, what enters them, and what they give exactly."""
    model = network("int8", activations)
    first, last = model.layers
    entering = trace_layer(first, ROWS)[f"{first.name}.output"]
    return (first, ROWS, trace_layer(first, ROWS)), (last, entering, trace_layer(last, entering))


@pytest.mark.parametrize("activations", [("relu", "linear"), ("tanh", "sigmoid")])
def test_the_checks_of_the_qdq_form_are_whole_records(activations):
    """The quantized input where floats enter, the integers of a middle layer, the floats of the last."""
    (first, rows, exact), (last, entering, ended) = loose(activations)
    quantized, output = check_loose_int8("l", first, rows, exact)
    name = f"{first.name}.quantized_input"
    assert quantized == TensorCheck("l", name, SAME_BITS, rows.size, 0, 0.0, 0.0, first.input.scale, 0)
    size = exact[f"{first.name}.output"].size
    assert (output.level, output.tensor, output.rule) == ("l", f"{first.name}.output", ONE_STEP)
    assert (output.compared, output.differing, output.max_abs_error) == (size, 0, 0.0)
    assert output.step == first.final_grid.scale
    assert output.largest_bound in (0.0, 1.0)
    (final,) = check_loose_int8("l", last, entering, {**ended, f"{last.name}.quantized_input": entering})
    assert (final.level, final.tensor, final.rule) == ("l", f"{last.name}.output", WITHIN_BOUND)
    assert (final.compared, final.differing, final.step) == (ended[f"{last.name}.output"].size, 0, None)
    assert 0 < final.largest_bound < 1e-4


def test_floats_at_the_end_of_the_qdq_form_have_a_bound_and_no_more():
    """The sums' rounding: 2^-24 of what is added up, for each product, scale and sum, carried to the output."""
    _first, (last, entering, exact) = loose(("relu", "linear"))
    centered = np.abs(entering.astype(np.float64) - last.input.zero_point)
    reach = centered @ np.abs(last.weight.astype(np.float64)) + np.abs(last.bias)
    allowed = reach * last.multiplier
    name = f"{last.name}.output"
    for factor, expected in ((2.0**-24, 0), (2.0**-18, allowed.size)):
        theirs = {name: exact[name].astype(np.float64) + factor * allowed}
        (check,) = check_loose_int8("l", last, entering, theirs)
        assert check.differing == expected, factor
    assert check.largest_bound == pytest.approx(2 * SUM_ERROR * allowed.max(), rel=1e-6)


def test_a_float_that_enters_a_later_layer_is_quantized_first():
    """Where the other engine shows the real values of a layer's input, they are put on its grid for the sum."""
    (_, _, _), (last, entering, exact) = loose(("relu", "linear"))
    real = ((entering.astype(np.float32) - last.input.zero_point) * np.float32(last.input.scale)).astype(np.float32)
    checks = check_loose_int8("l", last, real, {f"{last.name}.output": exact[f"{last.name}.output"]})
    assert [(check.tensor, check.differing) for check in checks] == [(f"{last.name}.output", 0)]


def test_a_table_may_be_entered_by_either_neighbour_of_a_tie_only():
    """A sum beside a half reads one entry or the next; what both allow is allowed, in the table's own order too."""
    layer = network("int8", ("tanh", "linear")).layers[0]
    table = np.arange(255, -1, -1, dtype=np.uint8)  # falls, so that the higher sum gives the lower output
    layer = replace(
        layer,
        weight=np.ones_like(layer.weight),
        bias=np.zeros_like(layer.bias),
        multiplier=np.full_like(layer.multiplier, 0.5),
        input=replace(layer.input, zero_point=0),
        output=replace(layer.output, zero_point=0),
        table=table,
    )
    entering = np.zeros((4, 13), np.uint8)
    entering[:, 0] = [101, 103, 105, 107]
    name, half = f"{layer.name}.output", np.broadcast_to(entering[:, :1] / 2, (4, 11))
    for shift, expected in ((-2.5, 44), (-0.5, 0), (0.5, 0), (2.5, 44)):
        theirs = {name: table[(half + shift).astype(np.uint8)]}
        assert check_loose_int8("l", layer, entering, theirs)[-1].differing == expected, shift


def test_the_rows_are_the_given_ones_or_the_stored_ones():
    """As float32; without stored ones, or with other widths, the message says what was found and expected."""
    model = network("int8")
    with pytest.raises(InputError, match="the model holds no test vectors; give rows to compare on"):
        rows_to_compare(model, None)
    stored = with_test_vectors(model, ROWS[:3])
    np.testing.assert_array_equal(rows_to_compare(stored, None), stored.test_vectors.inputs)
    found = rows_to_compare(model, ROWS.astype(np.float64).tolist())
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, ROWS)
    for wrong in (ROWS[:0], ROWS[0], ROWS[:, :12], ROWS[None]):
        with pytest.raises(InputError, match=r"rows have dtype float32 and shape .*expected numbers \(n, 13\), n >= 1"):
            rows_to_compare(model, wrong)
    with pytest.raises(InputError, match="rows to compare"):
        rows_to_compare(model, [["a"] * 13])
