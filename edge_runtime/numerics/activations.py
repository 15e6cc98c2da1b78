"""Forward maths of the activation functions. They are defined here once; the trainer adds derivatives to them.

Every function maps an array to an array of the same shape and floating dtype, and works in place when `out` is `x`.
What it allocates meanwhile stands in `DEFINITIONS`, with or without NumPy's own reuse of temporaries, which small
arrays and some systems go without: hence the operations in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.arguments import MODEL_CHECKS, shown
from edge_runtime.errors import ModelError

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

# exp(-x) stays a finite, normal number above these, so that sigmoid never overflows: {bytes per item: lowest input}
_LOWEST_SIGMOID_INPUT: dict[int, Any] = {4: np.float32(-87.0), 8: np.float64(-708.0)}

SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}
_SQRT_2_OVER_PI = 0.7978845608028654
# exp(a^2 / 2) * Phi(-a) = sum_k _NORMAL_TAIL[k] * t^k, t = 1 / (1 + _NORMAL_TAIL_STRETCH * a), for a >= 0: a weighted
# least-squares fit on Chebyshev points, made for gelu. a * Phi(-a) is within 6e-10 of the true value.
_NORMAL_TAIL_STRETCH = 0.3
_NORMAL_TAIL = (
    -0.00054545605282963,
    0.12728022624418,
    0.075880212100709,
    0.24510383507586,
    -0.15656415408801,
    0.2956355860946,
    -0.055051651686976,
    -0.04775297000819,
    0.016014372816078,
)
# erf(x) / x - 1 = sum_k _ERF[k] * x^(2 k) for |x| <= 1: S. L. Moshier, Cephes Mathematical Library 2.2 (1992), ndtrf.c,
# which states a peak error of 1.7e-7 of the value; 1 is taken off its first coefficient, so that x itself is added.
_ERF = (
    0.128379165726710,
    -0.3761262582423300,
    0.1128358514861418,
    -0.02685381193529856,
    0.005188327685732524,
    -0.0008010193625184903,
    0.00007853861353153693,
)


def linear(x: Array, out: Array | None = None) -> Array:
    """y = x (ONNX Identity)."""
    if out is None or out is x:
        return x
    np.copyto(out, x)
    return out


def relu(x: Array, out: Array | None = None) -> Array:
    """y = max(x, 0) (ONNX Relu). NaN stays NaN."""
    return np.maximum(x, x.dtype.type(0), out=out)


def leaky_relu(x: Array, out: Array | None = None, *, alpha: float = 0.01) -> Array:
    """y = x where x >= 0, else alpha * x: one multiplication in x's dtype (ONNX LeakyRelu)."""
    scaled = x * x.dtype.type(alpha)
    np.copyto(scaled, x, where=x >= 0)
    return _written(scaled, out)


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """y = 1 / (1 + exp(-x)) (ONNX Sigmoid). Inputs below -87 (float32) give 1.6e-38 instead of overflowing."""
    out = np.maximum(x, _LOWEST_SIGMOID_INPUT[x.dtype.itemsize], out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.add(out, x.dtype.type(1), out=out)
    return np.reciprocal(out, out=out)


def tanh(x: Array, out: Array | None = None) -> Array:
    """y = tanh(x) (ONNX Tanh)."""
    return np.tanh(x, out=out)


def softmax(x: Array, out: Array | None = None) -> Array:
    """y = exp(x - max x) / sum exp(x - max x) along the last axis (ONNX Softmax, axis = -1)."""
    out = np.subtract(x, np.maximum.reduce(x, axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    return np.divide(out, np.add.reduce(out, axis=-1, keepdims=True), out=out)


def log_softmax(x: Array, out: Array | None = None) -> Array:
    """y = log(softmax(x)) along the last axis, as x - max x - log sum exp(x - max x) (ONNX LogSoftmax, axis = -1)."""
    out = np.subtract(x, np.maximum.reduce(x, axis=-1, keepdims=True), out=out)
    total = np.add.reduce(np.exp(out), axis=-1, keepdims=True)
    return np.subtract(out, np.log(total), out=out)


def elu(x: Array, out: Array | None = None, *, alpha: float = 1.0) -> Array:
    """y = x where x > 0, else alpha * (exp(x) - 1) (ONNX Elu)."""
    return _above_zero(x, np.expm1(np.minimum(x, x.dtype.type(0))) * x.dtype.type(alpha), out)


def selu(x: Array, out: Array | None = None, *, alpha: float = SELU["alpha"], gamma: float = SELU["gamma"]) -> Array:
    """y = gamma * elu(x, alpha) (ONNX Selu)."""
    out = elu(x, out, alpha=alpha)
    return np.multiply(out, x.dtype.type(gamma), out=out)


def celu(x: Array, out: Array | None = None, *, alpha: float = 1.0) -> Array:
    """y = x where x > 0, else alpha * (exp(x / alpha) - 1) (ONNX Celu)."""
    below = np.minimum(x, x.dtype.type(0))
    below /= x.dtype.type(alpha)
    np.expm1(below, out=below)
    below *= x.dtype.type(alpha)
    return _above_zero(x, below, out)


def gelu(x: Array, out: Array | None = None) -> Array:
    """y = x * Phi(x), Phi the normal distribution (ONNX Gelu, approximate = "none").

    NumPy has no erf. With a = |x|: y = max(x, 0) - a * Phi(-a), and Phi(-a) = exp(-a^2 / 2) * q(1 / (1 + 0.3 a)), q a
    polynomial fitted to math.erfc. Within 2e-9 of the true value in float64 and 2e-7 * max(1, |x|) in float32.
    """
    size = np.abs(x)
    tail = _normal_tail(size)
    tail *= size
    return np.subtract(np.maximum(x, x.dtype.type(0)), tail, out=out)


def _normal_tail(size: Array) -> Array:
    """Phi(-size) of numbers from 0 on."""
    number = size.dtype.type
    t = size * number(_NORMAL_TAIL_STRETCH)
    t += number(1)
    np.reciprocal(t, out=t)
    tail = _polynomial(_NORMAL_TAIL, t)
    np.minimum(size, number(40), out=t)  # where the tail has vanished: a square of more could overflow
    t *= t
    t *= number(-0.5)
    tail *= np.exp(t, out=t)
    return tail


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """sum_k coefficients[k] * x^k, in x's dtype."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total *= x
        total += x.dtype.type(coefficient)
    return total


def erf(x: Array, out: Array | None = None) -> Array:
    """y = 2 / sqrt(pi) * integral of exp(-t^2) from 0 to x (ONNX Erf).

    Up to |x| = 1 a polynomial, further out 1 - 2 Phi(-sqrt(2) |x|): within 2 units in the last place of float32, and
    within 2e-9 in float64.
    """
    number = x.dtype.type
    inside = np.clip(x, number(-1), number(1))
    near = _polynomial(_ERF, inside * inside)
    near *= inside
    near += inside
    size = np.abs(x)
    is_near = size <= number(1)
    size *= number(math.sqrt(2))
    far = _normal_tail(size)
    far *= number(-2)
    far += number(1)
    np.copysign(far, x, out=far)
    np.copyto(far, near, where=is_near)
    return _written(far, out)


def gelu_tanh(x: Array, out: Array | None = None) -> Array:
    """y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) (ONNX Gelu, approximate = "tanh")."""
    inside = np.clip(x, x.dtype.type(-100), x.dtype.type(100))  # tanh is 1 long before; a cube of more could overflow
    half = inside * inside
    half *= x.dtype.type(0.044715)
    half += x.dtype.type(1)
    half *= inside
    half *= x.dtype.type(_SQRT_2_OVER_PI)
    np.tanh(half, out=half)
    half += x.dtype.type(1)
    half *= x.dtype.type(0.5)
    return np.multiply(x, half, out=out)


def softplus(x: Array, out: Array | None = None) -> Array:
    """y = log(1 + exp(x)), as max(x, 0) + log(1 + exp(-|x|)) (ONNX Softplus)."""
    small = np.log1p(np.exp(-np.abs(x)))
    return np.add(np.maximum(x, x.dtype.type(0)), small, out=out)


def softsign(x: Array, out: Array | None = None) -> Array:
    """y = x / (1 + |x|) (ONNX Softsign)."""
    size = np.abs(x)
    size += x.dtype.type(1)
    return np.divide(x, size, out=out)


def swish(x: Array, out: Array | None = None, *, alpha: float = 1.0) -> Array:
    """y = x * sigmoid(alpha * x); alpha = 1 is SiLU (ONNX Swish)."""
    return np.multiply(x, sigmoid(x * x.dtype.type(alpha)), out=out)


def mish(x: Array, out: Array | None = None) -> Array:
    """y = x * tanh(softplus(x)) (ONNX Mish)."""
    return np.multiply(x, np.tanh(softplus(x)), out=out)


def hard_sigmoid(x: Array, out: Array | None = None, *, alpha: float = 0.2, beta: float = 0.5) -> Array:
    """y = alpha * x + beta, kept within 0..1 (ONNX HardSigmoid)."""
    out = np.multiply(x, x.dtype.type(alpha), out=out)
    np.add(out, x.dtype.type(beta), out=out)
    return clip(out, out, min=0.0, max=1.0)


def hard_swish(x: Array, out: Array | None = None) -> Array:
    """y = x * hard_sigmoid(x, 1/6, 1/2) (ONNX HardSwish)."""
    return np.multiply(x, hard_sigmoid(x, alpha=1 / 6), out=out)


def clip(x: Array, out: Array | None = None, *, min: float = 0.0, max: float = 6.0) -> Array:
    """y = x kept within min..max; 0..6 is ReLU6 (ONNX Clip). NaN stays NaN."""
    out = np.maximum(x, x.dtype.type(min), out=out)
    return np.minimum(out, x.dtype.type(max), out=out)


def thresholded_relu(x: Array, out: Array | None = None, *, alpha: float = 1.0) -> Array:
    """y = x where x > alpha, else 0 (ONNX ThresholdedRelu)."""
    return _written(np.where(x > x.dtype.type(alpha), x, x.dtype.type(0)), out)


def threshold(x: Array, out: Array | None = None, *, threshold: float = 0.0, value: float = 0.0) -> Array:
    """y = x where x > threshold, else value (PyTorch Threshold). NaN stays NaN."""
    kept = x.copy()
    np.copyto(kept, x.dtype.type(value), where=x <= x.dtype.type(threshold))
    return _written(kept, out)


def shrink(x: Array, out: Array | None = None, *, bias: float = 0.0, lambd: float = 0.5) -> Array:
    """y = x + bias where x < -lambd, x - bias where x > lambd, else 0 (ONNX Shrink).

    With bias = lambd it is PyTorch's Softshrink, with bias = 0 its Hardshrink.
    """
    number = x.dtype.type
    shrunk = np.zeros_like(x)
    np.subtract(x, number(bias), out=shrunk, where=x > number(lambd))
    np.add(x, number(bias), out=shrunk, where=x < number(-lambd))
    return _written(shrunk, out)


def log_sigmoid(x: Array, out: Array | None = None) -> Array:
    """y = log(sigmoid(x)), as min(x, 0) - log(1 + exp(-|x|))."""
    small = np.abs(x)
    np.negative(small, out=small)
    np.exp(small, out=small)
    np.log1p(small, out=small)
    out = np.minimum(x, x.dtype.type(0), out=out)
    return np.subtract(out, small, out=out)


def exp(x: Array, out: Array | None = None) -> Array:
    """y = exp(x) (ONNX Exp). Above 88.7 in float32, 709.7 in float64, it is inf, without a warning."""
    with np.errstate(over="ignore"):
        return np.exp(x, out=out)


def square(x: Array, out: Array | None = None) -> Array:
    """y = x * x (ONNX Mul). What float32 cannot hold, of |x| above 1.8e19, is inf, without a warning."""
    with np.errstate(over="ignore"):
        return np.multiply(x, x, out=out)


def sin(x: Array, out: Array | None = None) -> Array:
    """y = sin(x) (ONNX Sin). Of infinities NaN, without a warning."""
    with np.errstate(invalid="ignore"):
        return np.sin(x, out=out)


def absolute(x: Array, out: Array | None = None) -> Array:
    """y = |x| (ONNX Abs)."""
    return np.abs(x, out=out)


def _above_zero(x: Array, below: Array, out: Array | None) -> Array:
    """x where x > 0, else `below`."""
    np.copyto(below, x, where=x > 0)
    return _written(below, out)


def _written(values: Array, out: Array | None) -> Array:
    """`values`, in `out` if there is one."""
    if out is None:
        return values
    np.copyto(out, values)
    return out


@dataclass(frozen=True)
class Definition:
    """What is known of an activation, whatever its parameters are.

    forward: the function (x, out, **params).
    defaults: its parameters.
    temporaries: the most that it allocates besides `out`, in arrays of the size of x: float32, and a quarter for a
        mask. With 0 it allocates a value per row and a fixed buffer at most.
    steepness: its largest slope, or the function that gives it for the parameters' magnitudes; inf where it has none.
    steepness_near: its largest slope within a distance of x, a function of both, where it grows without an end.
    jumps: the places where it jumps, of its parameters.
    error: how far two implementations that are both correct to a few units in the last place may be apart, in parts of
        max(1, |x|). exp, tanh and erf differ by library, and a product with x carries that further. 0: it is exact, a
        choice between numbers or one multiplication.
    is_relative: the error is in parts of the value instead.
    is_bounded: its values, and so their errors, do not grow with x.
    is_over_row: every output depends on every input of the row, so only the last layer may have it.
    is_arithmetic_on_int8: a grid step is computed on the accumulator; any other hidden one becomes a 256-entry table.
    onnx: the operator of ONNX that is this function by itself, with attributes that are called as the parameters.
    """

    forward: Callable[..., Array]
    defaults: Mapping[str, float] = field(default_factory=dict)
    temporaries: float = 0.0
    steepness: float | Callable[[Mapping[str, float]], float] = 1.0
    steepness_near: Callable[[Array, Array], Array] | None = None
    jumps: Callable[[Mapping[str, float]], Sequence[float]] = lambda params: ()
    error: float = 0.0
    is_relative: bool = False
    is_bounded: bool = False
    is_over_row: bool = False
    is_arithmetic_on_int8: bool = False
    onnx: str | None = None


def _at_least_one(sizes: Mapping[str, float]) -> float:
    return max(1.0, sizes["alpha"])


# A new activation is a function above and its line here; to train it, see tests/README.md.
DEFINITIONS: dict[str, Definition] = {
    "linear": Definition(linear, is_arithmetic_on_int8=True),
    "relu": Definition(relu, is_arithmetic_on_int8=True, onnx="Relu"),
    "leaky_relu": Definition(
        leaky_relu,
        {"alpha": 0.01},
        temporaries=1.25,
        steepness=_at_least_one,
        is_arithmetic_on_int8=True,
        onnx="LeakyRelu",
    ),
    "sigmoid": Definition(sigmoid, steepness=0.25, error=1e-6, is_bounded=True, onnx="Sigmoid"),
    "tanh": Definition(tanh, error=1e-6, is_bounded=True, onnx="Tanh"),
    "softmax": Definition(softmax, steepness=0.5, error=2e-6, is_bounded=True, is_over_row=True),
    # d log_softmax_i = dx_i - sum_j p_j dx_j
    "log_softmax": Definition(log_softmax, temporaries=1.0, steepness=2.0, error=2e-6, is_over_row=True),
    "elu": Definition(elu, {"alpha": 1.0}, temporaries=2.0, steepness=_at_least_one, error=1e-6, onnx="Elu"),
    "selu": Definition(
        selu,
        SELU,
        temporaries=2.0,
        steepness=lambda sizes: sizes["gamma"] * _at_least_one(sizes),
        error=1e-6,
        onnx="Selu",
    ),
    "celu": Definition(celu, {"alpha": 1.0}, temporaries=1.25, error=1e-6, onnx="Celu"),
    "gelu": Definition(gelu, temporaries=3.0, steepness=1.13, error=1e-6),
    "gelu_tanh": Definition(gelu_tanh, temporaries=2.0, steepness=1.13, error=1e-6),
    "softplus": Definition(softplus, temporaries=2.0, error=1e-6, onnx="Softplus"),
    "softsign": Definition(softsign, temporaries=1.0, error=1e-6, onnx="Softsign"),
    # of z * sigmoid(z), z = alpha * x, whatever alpha is
    "swish": Definition(swish, {"alpha": 1.0}, temporaries=2.0, steepness=1.1, error=1e-6, onnx="Swish"),
    "mish": Definition(mish, temporaries=3.0, steepness=1.09, error=1e-6, onnx="Mish"),
    # the error: with or without a fused multiply-add
    "hard_sigmoid": Definition(
        hard_sigmoid,
        {"alpha": 0.2, "beta": 0.5},
        steepness=lambda sizes: sizes["alpha"],
        error=1e-6,
        onnx="HardSigmoid",
    ),
    "hard_swish": Definition(hard_swish, temporaries=1.0, steepness=1.5, error=1e-6, onnx="HardSwish"),
    "clip": Definition(clip, {"min": 0.0, "max": 6.0}),
    "thresholded_relu": Definition(
        thresholded_relu,
        {"alpha": 1.0},
        temporaries=1.25,
        jumps=lambda params: (params["alpha"],),
        onnx="ThresholdedRelu",
    ),
    "threshold": Definition(
        threshold,
        {"threshold": 0.0, "value": 0.0},
        temporaries=1.25,
        jumps=lambda params: (params["threshold"],),
    ),
    "shrink": Definition(
        shrink,
        {"bias": 0.0, "lambd": 0.5},
        temporaries=1.25,
        jumps=lambda params: (-params["lambd"], params["lambd"]),
        onnx="Shrink",
    ),
    "log_sigmoid": Definition(log_sigmoid, temporaries=1.0, error=1e-6),
    # NumPy's is within 3 units in the last place, onnxruntime's within 1; in values below 1e-38 they may differ wholly
    "exp": Definition(
        exp,
        steepness=math.inf,
        steepness_near=lambda x, distance: np.exp(x + distance),
        error=1e-6,
        is_relative=True,
        onnx="Exp",
    ),
    "square": Definition(square, steepness=math.inf, steepness_near=lambda x, distance: 2 * (np.abs(x) + distance)),
    "erf": Definition(erf, temporaries=5.25, steepness=2 / math.sqrt(math.pi), error=1e-6, is_bounded=True, onnx="Erf"),
    "sin": Definition(sin, error=1e-6, is_bounded=True, onnx="Sin"),
    "abs": Definition(absolute, onnx="Abs"),
}


@dataclass(frozen=True)
class Activation:
    """An activation by name, with its parameters: `Activation("leaky_relu", (("alpha", 0.01),))`.

    Parameters that are not given have their defaults. Raises ModelError for an unknown name or parameter, and for one
    that is no finite float32 number.
    """

    name: str
    params: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in DEFINITIONS:
            known = ", ".join(sorted(DEFINITIONS))
            raise ModelError(f"activation {shown(self.name)} is not known; expected one of {known}")
        values = dict(DEFINITIONS[self.name].defaults)
        for pair in MODEL_CHECKS.items("params", self.params, "pairs of a name and a number"):
            key, value = self._checked(pair, values)
            values[key] = value
        object.__setattr__(self, "params", tuple(sorted(values.items())))

    def _checked(self, pair: Any, known: Mapping[str, float]) -> tuple[str, float]:
        """A parameter's name and value."""
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise MODEL_CHECKS.refusal("a parameter", pair, "a pair of a name and a number")
        key, value = pair
        what = f"activation {self.name!r}"
        if not isinstance(key, str) or key not in known:
            raise ModelError(f"{what} has no parameter {shown(key)}; it takes {sorted(known) or 'none'}")
        number = MODEL_CHECKS.number(f"{what}: parameter {key!r}", value)
        with np.errstate(over="ignore"):
            if not np.isfinite(np.float32(number)):
                raise ModelError(f"{what}: parameter {key!r} is {value}, expected a finite number")
        return key, number

    @classmethod
    def of(cls, spec: str | Activation, params: Mapping[str, float] | None = None) -> Activation:
        """The activation that `spec` names, or `spec` itself. Raises ModelError as the class does."""
        if isinstance(spec, Activation):
            return spec
        given = {} if params is None else MODEL_CHECKS.mapping("params", params, "a mapping of names to numbers")
        return cls(spec, tuple(given.items()))

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """Apply it to `x`, shape (..., n), floating dtype; see the function of the same name."""
        return DEFINITIONS[self.name].forward(x, out, **dict(self.params))

    @property
    def definition(self) -> Definition:
        """What holds for every activation of this name."""
        return DEFINITIONS[self.name]

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value:g}" for key, value in self.params)
        return f"{self.name}({inside})" if inside else self.name
