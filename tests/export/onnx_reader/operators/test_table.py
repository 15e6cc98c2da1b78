"""One list of who reads which operator, and one door to it, which no constant passes without its origin."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators import classifiers, folding
from export.onnx_reader.operators.table import FOLDED, HANDLERS, apply, joined
from export.onnx_reader.values import ANY_ROWS, Const, Flow, Origin, Value
from tests.export.onnx_reader.operators.test_shapes import flow

FLOATS = np.float32([[0.5, -2], [1, 3]])
WHOLE = np.array([1, 1])
CODES = np.uint8([[1, 2], [3, 4]])
ONE, COUNT, ZERO, STEP = np.array(1), np.array([1]), np.uint8(3), np.float32(0.5)
# Constants that operators may be given: every operator takes one of these lists at least, or none at all.
GIVEN = {
    "numbers": (FLOATS,), "two tensors": (FLOATS, FLOATS), "three tensors": (FLOATS, FLOATS, FLOATS),
    "sizes": (WHOLE,), "numbers and sizes": (FLOATS, WHOLE), "numbers and one axis": (FLOATS, COUNT),
    "two of sizes": (WHOLE, WHOLE), "whole numbers": (ONE, ONE + 3, ONE), "one size": (COUNT,),
    "two of bools": (FLOATS > 1, FLOATS > 1), "a choice": (FLOATS > 1, FLOATS, FLOATS), "limits": (FLOATS, STEP, STEP),
    "a grid": (FLOATS, STEP, ZERO), "codes": (CODES, STEP, ZERO), "a column": (FLOATS[:, :1, None],),
    "sizes from, to": (WHOLE, COUNT - 1, COUNT), "bools": (FLOATS > 1,),
    "numbers and a shape": (np.float32([1, 2, 3, 4]), WHOLE + 1), "axes": (FLOATS[None], COUNT - 1),
}  # fmt: skip
ATTRIBUTES = {
    "Cast": {"to": 1}, "Concat": {"axis": 0}, "Unsqueeze": {"axes": [0]}, "Squeeze": {"axes": [0]},
    "Slice": {"starts": [0], "ends": [1]}, "Gather": {"axis": 0},
}  # fmt: skip
BOTH = sorted({*FOLDED, *HANDLERS})
# What constants alone may go into; everything else asks for what is made of the input, or for no input at all.
TAKE_CONSTANTS = {operator for _, operator in FOLDED} | {
    "Cast", "CastLike", "Concat", "DequantizeLinear", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Reshape",
    "Shape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip


each_operator = pytest.mark.parametrize(("domain", "operator"), BOTH, ids=[f"{d}.{name}" for d, name in BOTH])


def made(domain: str, operator: str, given: list[Value], opset: int = 13) -> list[Value] | None:
    """What a node makes of constants; None if it refuses them or cannot take them."""
    outputs = ("a", "b") if operator == "Split" else ("a",)
    names = tuple(f"i{position}" for position in range(len(given)))
    node = Node("n", operator, domain, opset, names, outputs, dict(ATTRIBUTES.get(operator, {})))
    try:
        with np.errstate(all="ignore"):
            return apply(node, given, Budget(1 << 20))
    except (Unsupported, ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
        return None


def tainted(origin: Origin) -> Iterator[list[Value]]:
    """Every list of constants, with one of them of this origin."""
    for arrays in GIVEN.values():
        for place in range(len(arrays)):
            yield [Const(array, origin=origin if at == place else Origin.FILE) for at, array in enumerate(arrays)]


@each_operator
def test_no_operator_loses_that_a_constant_was_computed_from_the_number_of_rows(domain, operator):
    """Whatever stands beside it, in whichever place: what is made of one such constant is such a constant."""
    plain = [made(domain, operator, [Const(array) for array in arrays]) for arrays in GIVEN.values()]
    takes = any(isinstance(value, Const) for values in plain for value in values or ())
    assert takes == (operator in TAKE_CONSTANTS and (domain, operator) != ("com.microsoft", "QuantizeLinear"))
    found = [value for given in tainted(Origin.OF_ROWS) for value in made(domain, operator, given) or ()]
    assert all(isinstance(value, Const) and value.origin is Origin.OF_ROWS for value in found), found
    assert bool(found) == takes


@each_operator
def test_no_operator_makes_a_plain_number_of_the_number_of_rows(domain, operator):
    """Moved, cut, joined or multiplied it is a size, and of anything else it is said that it was computed of it.

    But for the shape of such numbers, and for a choice that leaves them out.
    """
    for shape, arrays in itertools.product(((2,), (1,), ()), (*GIVEN.values(), ())):
        for place in range(len(arrays) + 1):
            given: list[Value] = [Const(array) for array in arrays]
            given.insert(place, Const(np.full(shape, ANY_ROWS), origin=Origin.SIZES))
            for value in made(domain, operator, given) or ():
                assert isinstance(value, Const)
                is_without = (operator, place) in (("Shape", 0), ("Where", 1), ("Where", 2)) or value.array.size == 0
                assert value.origin is not Origin.FILE or is_without, (arrays, place, value)


@each_operator
def test_no_operator_computes_with_what_stands_once_for_every_row(domain, operator):
    """Beside constants alone it is refused: its shape is not the file's."""
    assert not any(made(domain, operator, given) for given in tainted(Origin.PER_ROW))


@pytest.mark.parametrize("operator", ["Sqrt", "Exp", "Neg", "Add"])
def test_one_input_too_many_is_refused(operator):
    """NumPy would write its results into it: a constant of the file would be another one for all nodes after it."""
    constant = Const(np.float32([-1, 2, 3]))
    given = [Const(np.float32([4, 5, 6]))] * (2 if operator == "Add" else 1)
    for first in (given, [flow((3,))] * len(given)):
        assert made("", operator, [*first, constant]) is None
    np.testing.assert_array_equal(constant.array, np.float32([-1, 2, 3]))


def test_a_second_handler_for_an_operator_is_refused():
    """With the operator and the files that both stand in; under another domain the same name is another operator."""
    first, second = {"Add": classifiers.arg_max}, {"Mul": folding.size, "Add": folding.size}
    with pytest.raises(ValueError, match=r"Add is read by .*folding and by .*classifiers; expected one of them"):
        joined([("", first), ("", second)])
    assert set(joined([("", first), ("mine", second)])) == {("", "Add"), ("mine", "Mul"), ("mine", "Add")}


def test_constants_alone_are_computed_and_all_else_is_read():
    """A node of another domain, without inputs or with something else among them is not computed."""
    one = Const(np.ones(1))
    assert isinstance(made("", "Add", [one, one])[0], Const)
    assert isinstance(made("", "Clip", [one, None])[0], Const)
    assert isinstance(made("", "Add", [one, flow((1,))])[0], Flow)
    for domain, operator, given in (
        ("com.microsoft", "Add", [one, one]), ("", "Conv", [one, one]), ("", "Add", []), ("", "Add", [None, None]),
        ("", "ConstantOfShape", [flow((1,), kind="int64")]),
    ):  # fmt: skip
        assert made(domain, operator, given) is None
