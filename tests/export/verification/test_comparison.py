from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation
from edge_runtime.reference.bounds import implementation_error, product_bound
from edge_runtime.reference.trace import trace, trace_layer
from export.quantization.quantizer import quantize
from export.verification.comparison import REPORTED, check_layer, check_loose_int8, reported, same_bits, within
from tests.networks import random_model, random_rows

ROWS = random_rows(50, 13, seed=3)
PRECISIONS = ["float32", "float16", "int8", "int8-dynamic"]


def network(precision, activations=("tanh", "sigmoid")):
    return quantize(random_model([13, 11, 5], list(activations)), random_rows(200, 13), precision)


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
