"""What a tensor of a graph is to the reader."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.numerics.quantization import QuantParams
from export.onnx_reader.inputs import Input
from export.onnx_reader.nodes import Unsupported
from export.onnx_reader.steps import DynamicQuantize, Quantize, Select
from export.onnx_reader.values import ANY_ROWS, Flow, Label


def flow(shape=(3,), batch=0, kind="float32") -> Flow:
    """The graph's input."""
    return Input("x", kind, shape, batch, ANY_ROWS).flow()


def test_the_axis_of_the_rows_stands_where_it_is():
    """In the shape with their number, in the layout with 1."""
    assert flow((2, 3), 1).shape == (2, ANY_ROWS, 3)
    assert flow((2, 3), 1).expanded.shape == (2, 1, 3)
    assert flow((2, 3), None).shape == flow((2, 3), None).expanded.shape == (2, 3)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "int64"])
def test_whole_numbers_of_the_input_are_not_computed_with(kind):
    """Codes that the graph made itself are: their sums are exact."""
    with pytest.raises(Unsupported, match=f"computes with {kind} numbers, expected a Cast"):
        flow(kind=kind).require_real()
    for step in (Quantize(QuantParams(1.0, 0)), DynamicQuantize()):
        assert flow().with_step(step, kind=kind).require_real().kind == kind
    for real in ("float16", "float32", "float64", "bool"):
        assert flow(kind=real).require_real().kind == real


@pytest.mark.parametrize(
    ("order", "is_whole"), [([2, 0, 1], True), ([0, 0, 1], False), ([0, 1], False), ([0, 1, 2, 2], False)]
)
def test_a_whole_flow_has_each_feature_once(order, is_whole):
    """Made whole, its features are its places."""
    found = Flow(flow().chain, np.array(order), 0, ANY_ROWS)
    assert found.is_whole == is_whole
    whole = found.made_whole()
    assert whole.is_whole
    if is_whole:
        assert whole is found
    else:
        assert isinstance(whole.chain.step, Select)
        np.testing.assert_array_equal(whole.chain.step.index, order)
        np.testing.assert_array_equal(whole.order, np.arange(len(order)))


def test_a_label_is_looked_up_once():
    """By the number of its class; a name is no number, nor are numbers that are not those of the classes."""
    label = Label(flow())
    numbers = label.named(("0", "1", "2"))
    assert numbers.named(("a", "b", "c")).classes == ("a", "b", "c")
    for names in (("a", "b", "c"), ("1", "0", "2"), ("1", "2", "3")):
        with pytest.raises(Unsupported, match="what is a name already"):
            label.named(names).named(("p", "q", "r"))
