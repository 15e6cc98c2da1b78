"""Which output of a graph the model computes, and what its classes are called."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from edge_runtime import ArtifactError
from edge_runtime.numerics import Activation, QuantParams
from export.onnx_reader.nodes import Node, Unsupported
from export.onnx_reader.outputs import class_names, main_output, reached_outputs
from export.onnx_reader.protobuf.walk import needed_nodes
from export.onnx_reader.reader import import_onnx
from export.onnx_reader.steps import (
    Affine,
    Dequantize,
    DynamicQuantize,
    DynamicScale,
    Function,
    Linear,
    Lookup,
    MinusRow,
    Quantize,
    RowFunction,
    Select,
)
from export.onnx_reader.values import Const, Label, Probabilities, RowNumber, Stacked
from tests.export.foreign import graph, normal
from tests.export.onnx_reader.operators.test_shapes import flow

X = flow((3,))
NODE = Node("n", "Relu", "", 13, (), ("o",))
GRID = QuantParams(0.25, 3)


def made(*steps, base=X):
    """A flow after some steps."""
    for step in steps:
        base = base.with_step(step)
    return base


def affine(scale, shift=0.0):
    return Affine(np.asarray(scale, np.float64), np.asarray(shift, np.float64))


def function(call):
    return Function(call, None, NODE)


VALUES = made(Linear(np.eye(3, dtype=np.float32)))
OTHER = made(Linear(np.ones((3, 3), np.float32)))


def test_the_one_output_of_rows_is_taken():
    """Whatever it is; constants beside it are none."""
    for value in (VALUES, Label(VALUES), Probabilities(VALUES, ("a", "b", "c")), Stacked(VALUES)):
        assert main_output({"c": Const(np.ones(3)), "y": value, "n": None}) == ("y", value)


def test_no_output_of_rows_is_refused_with_all_names():
    """And with what is supported."""
    with pytest.raises(Unsupported, match=r"^no output depends on the input: a, b; supported are chains of Gemm"):
        main_output({"a": Const(np.ones(3)), "b": None})


def test_copies_and_parts_of_the_input_are_no_networks_outputs():
    """Beside one that is computed; alone they are what there is."""
    part = made(Select(np.array([2, 0, 1])))
    for copied in (X, part):
        assert main_output({"copy": copied, "y": VALUES}) == ("y", VALUES)
        assert main_output({"copy": copied}) == ("copy", copied)


def test_values_are_taken_before_their_label():
    """In whatever order they stand."""
    label = Label(VALUES)
    for outputs in ({"l": label, "y": VALUES}, {"y": VALUES, "l": label}):
        assert main_output(outputs) == ("y", VALUES)


def test_one_tensor_under_two_names_is_one_output():
    """The first name is taken; the same values in another order, or as another kind, are two."""
    assert main_output({"a": VALUES, "b": VALUES}) == ("a", VALUES)
    turned = replace(VALUES, order=VALUES.order[::-1])
    for second in (turned, OTHER, Probabilities(VALUES, ("a", "b", "c"))):
        with pytest.raises(Unsupported) as caught:
            main_output({"a": VALUES, "b": second})
        assert str(caught.value) == (
            "the graph has 2 outputs: 'a' (n, 3), 'b' (n, 3); expected one, choose it by --output NAME "
            "(output= in Python)"
        )


def test_one_output_for_each_class_is_named_as_that():
    """Of width 1 each, beside a label; without a label they are several answers."""
    columns = {name: made(Linear(normal(3, 1)), base=flow((1,))) for name in ("a", "b")}
    with pytest.raises(Unsupported) as caught:
        main_output({"l": Label(VALUES), **columns})
    assert str(caught.value) == (
        "outputs a, b beside the label hold one class each; expected all in one output (skl2onnx: zipmap False in "
        "place of 'columns')"
    )
    with pytest.raises(Unsupported, match=r"^the graph has 2 outputs: 'a' \(n, 1\), 'b' \(n, 1\)"):
        main_output(columns)
    with pytest.raises(Unsupported, match=r"^the graph has 3 outputs: 'l' \(n labels\), 'a' \(n, 1\), 'y' \(n, 3\)"):
        main_output({"l": Label(VALUES), "a": columns["a"], "y": VALUES})


def test_labels_of_several_answers_need_their_values():
    """Yes or no for each output is no class; beside the values it is not looked at."""
    several = Label(VALUES, (), False)
    with pytest.raises(Unsupported, match=r"^its only output is labels of several answers; expected the values that"):
        main_output({"l": several})
    assert main_output({"l": several, "y": OTHER}) == ("y", OTHER)


KEEPS_ORDER = {
    "nothing": (),
    "a factor above 1": (affine(2.0, -5.0),),
    "a factor below 1": (affine(0.25, 1.0),),
    "a rising function": (function(np.tanh),),
    "softmax": (RowFunction(Activation.of("softmax")),),
    "less the largest": (MinusRow(),),
    "codes": (Quantize(GRID), Dequantize(GRID)),
    "dynamic codes": (DynamicQuantize(), DynamicScale()),
    "a rising table": (Quantize(GRID), Lookup(np.arange(256, dtype=np.uint8) // 2)),
}
CHANGES_ORDER = {
    "a negative factor": (affine(-1.0),),
    "a factor of 0": (affine(0.0),),
    "a factor for each": (affine([1.0, 2.0, 3.0]),),
    "a shift for each": (affine(1.0, [1.0, 2.0, 3.0]),),
    "a falling function": (function(np.negative),),
    "a function with a turn": (function(np.abs),),
    "a falling table": (Quantize(GRID), Lookup(np.arange(256, dtype=np.uint8)[::-1].copy())),
    "a product": (Linear(np.eye(3, dtype=np.float32)),),
}


@pytest.mark.parametrize("steps", KEEPS_ORDER.values(), ids=KEEPS_ORDER)
def test_a_label_may_be_of_values_before_or_after_what_keeps_their_order(steps):
    """The largest stays the largest."""
    later = made(*steps, base=VALUES)
    for label, value in ((VALUES, later), (later, VALUES)):
        outputs = {"l": Label(label), "y": value}
        assert main_output(outputs) == ("y", value)


@pytest.mark.parametrize("steps", CHANGES_ORDER.values(), ids=CHANGES_ORDER)
def test_a_label_of_other_values_is_refused(steps):
    """It would be another class than the largest of the output."""
    later = made(*steps, base=VALUES)
    for label, value in ((VALUES, later), (later, VALUES)):
        with pytest.raises(Unsupported) as caught:
            main_output({"label": Label(label), "y": value})
        assert str(caught.value) == "label 'label' is not that of the largest value of output 'y', as expected"


def test_a_label_of_values_in_another_order_is_refused():
    """Unless both are in that order."""
    index = np.array([2, 0, 1])
    turned, twice = made(Select(index), base=VALUES), made(Select(index), base=made(affine(2.0), base=VALUES))
    with pytest.raises(Unsupported, match="is not that of the largest value"):
        main_output({"l": Label(turned), "y": VALUES})
    assert main_output({"l": Label(turned), "y": twice}) == ("y", twice)
    back = made(Select(np.argsort(index)), base=turned)
    assert main_output({"l": Label(back), "y": VALUES}) == ("y", VALUES)


def test_a_chain_stands_behind_each_kind_of_value():
    """The flow's own."""
    for value in (VALUES, Label(VALUES), Probabilities(VALUES, ()), Stacked(VALUES)):
        assert value.flow.chain is VALUES.chain


def reached(nodes, targets, opset=13):
    proto = graph(nodes, opset=opset, target=", ".join(f"float[N,3] {name}" for name in targets), V=normal(6, 3))
    return reached_outputs(proto, needed_nodes(proto, targets), {"V"})


def test_outputs_that_the_input_reaches():
    """In whatever way, in the graph's order; what is made of constants or of random numbers alone is not."""
    nodes = "a = MatMul(x, V) b = Relu(V) c = Add(a, b) r = RandomNormalLike(x) d = Add(r, b) e = Relu(d)"
    assert reached(nodes, ["e", "c", "b", "a", "d"]) == ["c", "a"]
    assert reached("a = RandomUniformLike(x) b = Relu(x)", ["a", "b"]) == ["b"]


def test_an_output_may_be_the_input_itself():
    """It depends on it, and is one if there is no other."""
    proto = graph("y = MatMul(x, V)", V=normal(6, 3))
    proto.graph.output.append(proto.graph.input[0])
    assert reached_outputs(proto, needed_nodes(proto, ["y"]), {"V"}) == ["y"]
    del proto.graph.output[0]
    assert reached_outputs(proto, needed_nodes(proto, ["x"]), {"V"}) == ["x"]
    old = graph("y = MatMul(x, V)", V=normal(6, 3))
    old.graph.input.append(onnx.helper.make_tensor_value_info("V", 1, [6, 3]))  # as before IR version 4
    old.graph.output.append(old.graph.input[1])
    assert reached_outputs(old, needed_nodes(old, ["y"]), {"V"}) == ["y"]


def named(stored, producer="smallnet", n_out=3, outputs=None):
    """The names in a file with this text under class_names."""
    proto = onnx.ModelProto(producer_name=producer)
    if stored is not None:
        proto.metadata_props.add(key="other", value="[1]")
        proto.metadata_props.add(key="class_names", value=stored)
    return class_names(proto, outputs or {}, n_out)


def test_stored_names_are_those_of_our_own_files():
    """A JSON list, one for each output; what does not fit, or is another's, counts for nothing."""
    stored = json.dumps(["a", "b", "ü"])
    assert named(stored) == ("a", "b", "ü")
    assert named(stored, producer="pytorch") == ()
    assert named(stored, n_out=2) == ()
    assert named(None) == ()
    assert named(json.dumps("abc")) == ()
    assert named(json.dumps({"a": 1, "b": 2, "c": 3})) == ()
    padding = (1 << 20) - len(stored)
    assert named(stored + " " * padding) == ("a", "b", "ü")
    assert named(stored + " " * (padding + 1)) == ()


def test_names_of_a_label_come_first():
    """Of ZipMap or of the label, where there is one for each output."""
    label, zipped = Label(VALUES, ("x", "y", "z")), Probabilities(VALUES, ("u", "v", "w"))
    stored = json.dumps(["a", "b", "c"])
    assert named(stored, outputs={"v": VALUES, "l": label, "p": zipped}) == ("x", "y", "z")
    assert named(stored, outputs={"p": zipped, "l": label}) == ("u", "v", "w")
    assert named(stored, outputs={"l": Label(VALUES)}) == ("a", "b", "c")
    assert named(None, outputs={"l": Label(VALUES, ("x", "y"))}) == ()


def test_an_output_is_chosen_by_its_name(tmp_path):
    """Of a file with two; the other one is told as dropped."""
    proto = graph("h = Gemm(x, W1, B1) y = Relu(h)", target="float[N,5] h, float[N,5] y")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ArtifactError, match=r"the graph has 2 outputs: 'h' \(n, 5\), 'y' \(n, 5\); expected one"):
        import_onnx(tmp_path / "m.onnx")
    for name, other, activation in (("h", "y", "linear"), ("y", "h", "relu")):
        found = import_onnx(tmp_path / "m.onnx", output=name)
        assert (found.output, found.dropped) == (name, (other,))
        assert found.model.layers[-1].activation.name == activation


@pytest.mark.parametrize(
    "call",
    [lambda x: np.maximum(x, 0), lambda x: np.clip(x, -1, 1), lambda x: np.clip(0.2 * x + 0.5, 0, 1), np.floor, np.abs],
)
def test_a_label_behind_what_makes_ties_is_not_that_of_the_values(call):
    """The first of several equal values is the label there, and the largest value may stand elsewhere."""
    flat = made(function(call), base=VALUES)
    for label, values in ((flat, VALUES), (VALUES, flat)):
        with pytest.raises(Unsupported, match="label 'l' is not that of the largest value of output 'y'"):
            main_output({"l": Label(label), "y": values})


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "softsign", "leaky_relu", "elu"])
def test_a_label_behind_what_rises_is_that_of_the_values(name):
    """On either side of it."""
    risen = made(function(Activation.of(name)), base=VALUES)
    for label, values in ((risen, VALUES), (VALUES, risen)):
        assert main_output({"l": Label(label), "y": values})[0] == "y"


def test_one_number_for_each_row_is_an_output_that_has_to_be_chosen_against():
    """A sum of a row beside the values, or beside a label, is refused with both names; alone it is no network."""
    number = RowNumber(VALUES, "ReduceSum")
    for other in (VALUES, Label(VALUES), Probabilities(VALUES, ("a", "b", "c"))):
        with pytest.raises(
            Unsupported, match=r"2 outputs: 'y' \(n.*\), 's' \(one number\); expected one, choose it by --output"
        ):
            main_output({"y": other, "s": number})
    with pytest.raises(Unsupported, match="output 's' is one number for each row or batch"):
        main_output({"s": number})
