"""Loss functions: what they cost and their gradients, over a batch of outputs `a` and targets, both (rows, n_out)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edge_runtime.arguments import shown
from edge_runtime.array_types import Array
from edge_runtime.numerics import Activation
from trainer.config import check_number
from trainer.errors import ConfigurationError

_SMALLEST_NORMAL: dict[int, Any] = {4: np.finfo(np.float32).tiny, 8: np.finfo(np.float64).tiny}


@dataclass(frozen=True)
class Loss:
    """A loss over a batch: the mean over rows of each row's loss, times the row's weight where there are weights.

    `fused_with` names the activation of the last layer for which `gradient` is the gradient by its *input* z, which is
    simpler and more exact than passing through the activation; None means that `gradient` is by the outputs.
    `is_mean_over_outputs` says that a row's loss is the mean over its outputs, not the sum. `takes_units` says that it
    may be computed on standardized targets: where targets are far from 0 or of different sizes, that is learned better.
    """

    name: ClassVar[str] = ""
    fused_with: ClassVar[str | None] = None
    is_mean_over_outputs: ClassVar[bool] = True
    takes_units: ClassVar[bool] = False

    def elements(self, a: Array, targets: Array, out: Array, scratch: Array) -> None:
        """Write each output's loss into `out`, (rows, n_out)."""
        raise NotImplementedError

    def gradient(self, a: Array, targets: Array, out: Array) -> None:
        """Write each output's gradient into `out`: the derivative of `elements`, not divided by rows or outputs."""
        raise NotImplementedError

    def per_row(self, n_out: int) -> float:
        """What a row's sum of elements is multiplied with: 1 or 1 / n_out."""
        return 1.0 / n_out if self.is_mean_over_outputs else 1.0

    def total(self, a: Array, targets: Array, weight: Array | None, out: Array, scratch: Array) -> float:
        """The sum of the rows' losses. weight: (rows, 1) or None. out, scratch: arrays of a's shape to write into."""
        self.elements(a, targets, out, scratch)
        if weight is not None:
            np.multiply(out, weight, out=out)
        return float(np.add.reduce(out, axis=None)) * self.per_row(a.shape[1])

    def check(self, final: Activation, n_out: int) -> None:
        """Raise ConfigurationError where the loss does not fit the network's last activation."""
        if self.fused_with is not None and final.name != self.fused_with:
            raise ConfigurationError(
                f"loss '{self.name}' needs {self.fused_with} as the last activation, found {final.name}; "
                f"change the activation or choose another loss ({', '.join(LOSSES)})"
            )


def _log(a: Array, out: Array) -> Array:
    """log(a), with a held above the smallest normal number, so that a probability of 0 costs 87 and not infinity."""
    np.maximum(a, _SMALLEST_NORMAL[a.dtype.itemsize], out=out)
    return np.log(out, out=out)


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """-sum_k t_k log a_k for softmax outputs; fused with softmax its gradient is a - t. Rows of t sum to 1."""

    name = "cross_entropy"
    fused_with = "softmax"
    is_mean_over_outputs = False

    def elements(self, a: Array, targets: Array, out: Array, scratch: Array) -> None:
        """-t log a."""
        np.negative(_log(a, out), out=out)
        np.multiply(out, targets, out=out)

    def total(self, a: Array, targets: Array, weight: Array | None, out: Array, scratch: Array) -> float:
        """The sum over `elements`, as one dot product of all logarithms with all targets."""
        _log(a, out)
        if weight is not None:
            np.multiply(out, weight, out=out)
        return -float(np.vdot(out, targets))

    def gradient(self, a: Array, targets: Array, out: Array) -> None:
        """By z: a - t."""
        np.subtract(a, targets, out=out)

    def check(self, final: Activation, n_out: int) -> None:
        """Refuse one output, whose softmax is always 1, besides another activation than softmax."""
        super().check(final, n_out)
        if n_out < 2:
            raise ConfigurationError(
                "loss 'cross_entropy' needs at least 2 outputs, found 1; use sigmoid for one output"
            )


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """-(t log a + (1 - t) log(1 - a)) for sigmoid outputs, mean over outputs; by z its gradient is a - t."""

    name = "binary_cross_entropy"
    fused_with = "sigmoid"

    def elements(self, a: Array, targets: Array, out: Array, scratch: Array) -> None:
        """-t log a - (1 - t) log(1 - a)."""
        np.subtract(a.dtype.type(1), a, out=scratch)
        _log(scratch, scratch)
        _log(a, out)
        np.subtract(out, scratch, out=out)
        np.multiply(out, targets, out=out)
        np.add(out, scratch, out=out)
        np.negative(out, out=out)

    def gradient(self, a: Array, targets: Array, out: Array) -> None:
        """By z: a - t."""
        np.subtract(a, targets, out=out)


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """(a - t)^2, mean over outputs."""

    name = "mse"
    takes_units = True

    def elements(self, a: Array, targets: Array, out: Array, scratch: Array) -> None:
        """(a - t)^2."""
        np.subtract(a, targets, out=out)
        np.multiply(out, out, out=out)

    def gradient(self, a: Array, targets: Array, out: Array) -> None:
        """By a: 2 (a - t)."""
        np.subtract(a, targets, out=out)
        np.add(out, out, out=out)


@dataclass(frozen=True)
class Huber(Loss):
    """Quadratic near the target, linear beyond `delta` (Huber 1964), mean over outputs.

    0.5 d^2 where |d| <= delta, else delta * (|d| - delta / 2), with d = a - t. In training d is in standard deviations
    of the targets, to within a factor of 1.5, unless `fit` is told standardize="none".
    """

    name = "huber"
    takes_units = True
    delta: float = 1.0

    def __post_init__(self) -> None:
        check_number("delta", self.delta, above=0.0)

    def elements(self, a: Array, targets: Array, out: Array, scratch: Array) -> None:
        """c * (|d| - c / 2) with c = min(|d|, delta)."""
        np.subtract(a, targets, out=out)
        np.absolute(out, out=out)
        np.minimum(out, a.dtype.type(self.delta), out=scratch)
        np.multiply(out, scratch, out=out)
        np.multiply(scratch, scratch, out=scratch)
        np.multiply(scratch, a.dtype.type(0.5), out=scratch)
        np.subtract(out, scratch, out=out)

    def gradient(self, a: Array, targets: Array, out: Array) -> None:
        """By a: d clipped to [-delta, delta]."""
        np.subtract(a, targets, out=out)
        np.clip(out, a.dtype.type(-self.delta), a.dtype.type(self.delta), out=out)


@dataclass(frozen=True, eq=False)
class ScaledLoss(Loss):
    """The loss `inner` of outputs and targets that are multiplied with `factor`, float32 (n_out,).

    For the losses that look at a - t alone: it is then that of other units, with outputs and targets in their own.
    """

    inner: Loss
    factor: Array

    def elements(self, a: Array, targets: Array, out: Array, scratch: Array) -> None:
        """Those of the scaled difference."""
        self.inner.elements(a * self.factor, targets * self.factor, out, scratch)

    def gradient(self, a: Array, targets: Array, out: Array) -> None:
        """By a: that of the scaled difference, times the factor."""
        self.inner.gradient(a * self.factor, targets * self.factor, out)
        np.multiply(out, self.factor, out=out)


LOSSES: dict[str, Loss] = {
    loss.name: loss for loss in (CrossEntropy(), BinaryCrossEntropy(), MeanSquaredError(), Huber())
}
_DEFAULT_BY_ACTIVATION = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}


def choose_loss(spec: str | Loss | None, final: Activation, n_out: int) -> Loss:
    """The loss that `spec` names; None chooses by the last activation: cross-entropy for softmax, binary for sigmoid,

    mean squared error otherwise. Raises ConfigurationError for an unknown name or one that does not fit.
    """
    if spec is None:
        spec = _DEFAULT_BY_ACTIVATION.get(final.name, "mse")
    if isinstance(spec, str):
        if spec not in LOSSES:
            raise ConfigurationError(f"loss is {shown(spec)}, expected one of {', '.join(LOSSES)}")
        spec = LOSSES[spec]
    if not isinstance(spec, Loss):
        raise ConfigurationError(f"loss is {shown(spec)}, expected a name ({', '.join(LOSSES)}) or a Loss")
    spec.check(final, n_out)
    return spec
