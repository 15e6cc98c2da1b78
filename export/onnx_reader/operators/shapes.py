"""Operators that move values and compute none: Reshape, Transpose, Flatten, Squeeze, Cast, ...

On a constant they are NumPy's; on a flow they move the layout, and must leave every row by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto, helper

from edge_runtime.array_types import Array
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.constants import once_for_all_rows
from export.onnx_reader.operators.fine_codes import on_grid
from export.onnx_reader.protobuf import element_type
from export.onnx_reader.steps import Byte
from export.onnx_reader.values import (
    ANY_ROWS,
    Const,
    Flow,
    Handler,
    Label,
    Origin,
    Probabilities,
    Shaped,
    Stacked,
    Value,
    optional,
    tensor,
)


def whole_numbers(value: Value, what: str) -> list[int]:
    """A constant of whole numbers as a list, at most one axis. Raises Unsupported."""
    if not isinstance(value, Const) or value.array.ndim > 1 or value.array.dtype.kind not in "iu":
        raise Unsupported(f"its {what} is not a constant list of whole numbers")
    return [int(number) for number in value.array.ravel()]


def listed(node: Node, inputs: list[Value], position: int, name: str) -> list[int] | None:
    """What newer opsets take as an input and older ones as an attribute; None where it is left out."""
    given = optional(inputs, position)
    if given is not None:
        return whole_numbers(given, name)
    values = node.attributes.get(name)
    return None if values is None else [int(value) for value in node.attribute(name, list, [])]


def resolved_axis(axis: int, rank: int) -> int:
    """An axis counted from the front. Raises Unsupported where there is none."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} does not exist in a tensor of {rank} axes")
    return axis % rank


def moved(value: Value, change: Callable[[Array], Array], axes: Sequence[int], budget: Budget) -> Const | Flow:
    """A tensor after a change of its places. axes: which axis each new one was, -1 where it was none."""
    old = tensor(value)
    if isinstance(old, Const):
        budget.charge(old.array.size, old.array.dtype.itemsize)
    return old.moved(change, axes)


def identity(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Nothing changes."""
    return [inputs[0]]


def dropout(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Nothing changes outside of training."""
    mode = optional(inputs, 2)
    if mode is not None and (not isinstance(mode, Const) or mode.array.size != 1 or bool(mode.array.ravel()[0])):
        raise Unsupported("it is in training mode", "training")
    return [inputs[0]]


def cast(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Another dtype. Real values must stay real; integers and classes become real for nothing."""
    value, code = tensor(inputs[0]), node.attributes.get("to")
    dtype = element_type(node.attribute("to", int, 0))
    if isinstance(value, Const):
        if value.array.dtype.kind == "O":
            return [value]
        budget.charge(value.array.size, dtype.itemsize)
        of_half = dtype.kind == "f" and (value.of_half or value.array.dtype == np.float16)
        cast_to = value.array.astype(dtype)
        if not np.array_equal(cast_to, value.array, equal_nan=dtype.kind == "f"):
            return [Const(cast_to, of_half=of_half)]  # the integers behind it are those of other values
        return [Const(cast_to, value.codes, value.scale, of_half=of_half, stored=value.stored)]
    before = np.dtype(value.kind)
    if dtype == np.uint16 and before.kind in "fb" and (codes := on_grid(value)) is not None:
        return [codes]
    if dtype == np.uint8 and isinstance(value.chain.step, Byte):
        return [replace(value, kind=dtype.name)]
    if code == TensorProto.BFLOAT16 or (dtype.kind != "f" and not np.can_cast(before, dtype, "safe")):
        name = "bfloat16" if code == TensorProto.BFLOAT16 else dtype
        raise Unsupported(f"it makes {name} of {before} values, which cuts or wraps")
    return [replace(value, kind=dtype.name)]


def cast_like(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """The dtype of another tensor."""
    like = tensor(inputs[1])
    dtype = np.dtype(like.kind) if isinstance(like, Flow) else like.array.dtype
    code = int(helper.np_dtype_to_tensor_dtype(dtype))
    return cast(replace(node, attributes={"to": code}), inputs[:1], budget)


def transpose(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Axes in another order."""
    rank = len(tensor(inputs[0]).shape)
    axes = node.attribute("perm", list, list(range(rank))[::-1])
    if sorted(axes) != list(range(rank)):
        raise Unsupported(f"its perm {axes[:16]} does not fit a tensor of {rank} axes")
    return [moved(inputs[0], lambda array: array.transpose(axes), axes, budget)]


def reshape(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Another shape, by Reshape's rules for 0 and -1."""
    target = listed(node, inputs, 1, "shape")
    if target is None:
        raise Unsupported("it has no shape")
    return [_to_shape(tensor(inputs[0]), target, budget, allow_zero=bool(node.attribute("allowzero", int, 0)))]


def flatten(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Two axes: what comes before `axis`, and the rest."""
    value, axis = tensor(inputs[0]), node.attribute("axis", int, 1)
    shape = value.shape
    if not -len(shape) <= axis <= len(shape):
        raise Unsupported(f"axis {axis} does not exist in a tensor of {len(shape)} axes")
    axis = axis + len(shape) if axis < 0 else axis
    target = [math.prod(shape[:axis]), math.prod(shape[axis:])]
    return [_to_shape(value, target, budget, allow_zero=True)]


def _to_shape(value: Const | Flow, target: list[int], budget: Budget, *, allow_zero: bool = False) -> Value:
    shape = _resolved(value.shape, target, allow_zero)
    if isinstance(value, Const):
        return moved(value, lambda array: array.reshape(shape), (), budget)
    if shape == value.shape:
        return value
    if value.batch == 0 and value.rows == ANY_ROWS and shape[0] > ANY_ROWS and set(shape[1:]) <= {1}:
        return Stacked(value)  # skl2onnx ends regressors of several outputs so
    if value.batch is None or value.rows == 1:
        keeps = value.batch is not None and len(shape) > 1 and shape[0] == 1
        return replace(value, order=value.order.reshape(shape[1:] if keeps else shape), batch=0 if keeps else None)
    batch = next((axis for axis, size in enumerate(shape) if size != 1), 0)
    before = math.prod(value.shape[: value.batch])
    if before != 1 or shape[batch] != value.rows:
        raise Unsupported(f"it mixes rows and features: {_shown(value.shape)} becomes {_shown(shape)}")
    return replace(value, order=value.order.reshape(shape[:batch] + shape[batch + 1 :]), batch=batch)


def _shown(shape: tuple[int, ...]) -> str:
    """A shape in messages, the free batch as "rows"."""
    sizes = [f"rows x {size // ANY_ROWS}" if size >= ANY_ROWS else str(size) for size in shape]
    return f"({', '.join(sizes)})".replace("rows x 1,", "rows,").replace("rows x 1)", "rows)")


def _resolved(shape: tuple[int, ...], target: list[int], allow_zero: bool) -> tuple[int, ...]:
    """The sizes that a Reshape's target means. Raises Unsupported where they do not fit."""
    if len(target) > 16 or sum(size == -1 for size in target) > 1 or any(size < -1 for size in target):
        raise Unsupported(f"its shape {target[:16]} is not possible")
    sizes = list(target)
    if not allow_zero:
        if any(size == 0 and axis >= len(shape) for axis, size in enumerate(target)):
            raise Unsupported(f"its shape {target} copies an axis that does not exist")
        sizes = [shape[axis] if size == 0 else size for axis, size in enumerate(target)]
    total, known = math.prod(shape), math.prod(size for size in sizes if size != -1)
    if -1 in sizes and known and total % known == 0:
        sizes[sizes.index(-1)] = total // known
    if math.prod(sizes) != total or -1 in sizes:
        raise Unsupported(f"its shape {target} does not fit a tensor of shape {_shown(shape)}")
    return tuple(sizes)


def squeeze(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Axes of size 1 go."""
    shape, axes = tensor(inputs[0]).shape, listed(node, inputs, 1, "axes")
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    gone = ones if axes is None else [resolved_axis(axis, len(shape)) for axis in axes]
    if not set(gone) <= set(ones):
        raise Unsupported(f"it removes an axis that is not of size 1, from a tensor of {len(shape)} axes")
    kept = [axis for axis in range(len(shape)) if axis not in gone]
    return [moved(inputs[0], lambda array: array.reshape([array.shape[axis] for axis in kept]), kept, budget)]


def unsqueeze(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Axes of size 1 come."""
    axes, rank = listed(node, inputs, 1, "axes"), len(tensor(inputs[0]).shape)
    if axes is None or rank + len(axes) > 16:
        raise Unsupported("it has no axes, or too many")
    new = {resolved_axis(axis, rank + len(axes)) for axis in axes}
    if len(new) != len(axes):
        raise Unsupported(f"its axes {axes} name one axis twice")
    old = iter(range(rank))
    places = [-1 if axis in new else next(old) for axis in range(rank + len(axes))]
    return [moved(inputs[0], lambda array: np.expand_dims(array, tuple(new)), places, budget)]


def shape_of(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """The shape, the number of rows standing for itself."""
    value = inputs[0] if isinstance(inputs[0], Shaped) else tensor(inputs[0])
    first, last = node.attribute("start", int, 0), node.attributes.get("end")
    origin = Origin.FILE if isinstance(value, Const) else Origin.SIZES
    return [Const(np.array(value.shape[first:last], np.int64), origin=origin)]


def expand(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Values repeated to a shape, rows as they are."""
    value, target = inputs[0], whole_numbers(inputs[1], "shape")
    if isinstance(value, Flow):
        flow = _to_shape(value, [1] * (len(target) - len(value.shape)) + list(value.shape), budget)
        assert isinstance(flow, Flow)
        sizes = [1] * (len(flow.shape) - len(target)) + target
        pairs = enumerate(zip(sizes, flow.shape, strict=True))
        if any(size not in (1, have) and (have != 1 or axis == flow.batch) for axis, (size, have) in pairs):
            raise Unsupported(f"it repeats values that are made of the input: {_shown(flow.shape)} to {sizes[:16]}")
        if flow.batch is not None:
            sizes[flow.batch] = 1
        shape = np.broadcast_shapes(flow.expanded.shape, tuple(sizes))
        budget.charge(math.prod(shape))
        return [flow.laid(np.broadcast_to(flow.expanded, shape), flow.batch)]
    if not isinstance(value, Const) or len(target) > 16 or any(not 0 <= size < 1 << 31 for size in target):
        raise Unsupported(f"its shape {target[:16]} is not possible")
    target, origin = once_for_all_rows(inputs[1], target)
    axes = value.array.ndim - len(target)
    if origin is Origin.PER_ROW and (axes > 0 or (axes == 0 and value.array.shape[0] != 1)):
        raise Unsupported(f"it repeats constants of shape {value.array.shape} to the number of rows, expected one row")
    shape = np.broadcast_shapes(value.array.shape, tuple(target))
    budget.charge(math.prod(shape))
    return [Const(np.broadcast_to(value.array, shape).copy(), origin=origin)]


def _passing_labels(handler: Handler) -> Handler:
    """A handler of tensors that leaves the class with the largest value, and dictionaries, as they are."""

    def handle(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
        is_label = isinstance(inputs[0], Label | Probabilities)
        return [inputs[0]] if is_label else handler(node, inputs, budget)

    return handle


HANDLERS: dict[str, Handler] = {
    "Identity": identity,
    "Dropout": dropout,
    "Cast": _passing_labels(cast),
    "CastLike": cast_like,
    "Transpose": transpose,
    "Reshape": _passing_labels(reshape),
    "Flatten": _passing_labels(flatten),
    "Squeeze": _passing_labels(squeeze),
    "Unsqueeze": _passing_labels(unsqueeze),
    "Shape": shape_of,
    "Expand": expand,
}
