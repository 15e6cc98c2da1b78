"""The units of regression targets: a network learns them standardized, and gives them as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.array_types import Array

_NOISE = 1e-12  # a spread of this share of the mean is what summing in float64 leaves
_COARSE = 0.01  # a step of float32 of this share of the deviation shows in the scores
_MOST = 100.0  # the largest power of two by which weights are multiplied: float32 ends at 127


@dataclass(frozen=True, eq=False)
class TargetUnits:
    """target = learned * scale + mean, output by output.

    mean, scale: float64 (n_out,). Scales are powers of two: multiplying weights by them rounds nothing, so that a
    network whose last layer is linear gives real units exactly, with one rounding of each bias.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, targets: NDArray[np.float64], weight: Array | None = None, *, as_one: bool = False) -> TargetUnits:
        """Of training targets (rows, n_out), each with a mean and scale of its own; as_one: the same for all.

        weight: (rows,), of mean 1. The learned values then have standard deviations from 0.7 to 1.5. A target that does
        not vary keeps its scale.
        """
        n_out = targets.shape[1]
        weights = np.ones(len(targets)) if weight is None else weight
        mean = np.average(targets, axis=0, weights=weights)
        mean = np.full(n_out, mean.mean()) if as_one else mean
        variance = np.average(np.square(targets - mean), axis=0, weights=weights)
        std = np.sqrt(np.full(n_out, variance.mean()) if as_one else variance)
        varies = std > _NOISE * np.abs(mean)
        power = np.rint(np.log2(std, out=np.zeros_like(std), where=varies)).clip(-_MOST, _MOST)
        return cls(mean, np.exp2(power))

    def learned(self, targets: ArrayLike) -> NDArray[np.float64]:
        """Targets (rows, n_out) as the network learns them."""
        return (np.asarray(targets, np.float64) - self.mean) / self.scale

    def real(self, outputs: Array) -> Array:
        """Outputs (rows, n_out) of the network in training, in the targets' units and the dtype of `outputs`."""
        return (outputs * self.scale + self.mean).astype(outputs.dtype)

    def fold(self, weights: Array, bias: Array) -> tuple[Array, Array]:
        """Weights (n_in, n_out) and bias (n_out,) of the last layer, for outputs in the targets' units."""
        return (weights * self.scale).astype(weights.dtype), (bias * self.scale + self.mean).astype(bias.dtype)

    def unfold(self, weights: Array, bias: Array) -> tuple[Array, Array]:
        """The inverse of `fold`."""
        return (weights / self.scale).astype(weights.dtype), ((bias - self.mean) / self.scale).astype(bias.dtype)


def float32_steps(targets: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The distance of float32's numbers near each target's mean, float64 (k,), and whether it hides what varies."""
    largest = np.finfo(np.float32).max
    means = np.abs(targets.mean(axis=0)).clip(None, largest)
    steps = np.spacing(means.astype(np.float32)).astype(np.float64)
    varies = targets.max(axis=0) > targets.min(axis=0)
    return steps, varies & (steps > _COARSE * targets.std(axis=0))


def coarse_targets(targets: NDArray[np.float64]) -> str | None:
    """What a user should know of targets (rows, k) that float32 answers cannot tell apart; None for others."""
    steps, is_coarse = float32_steps(targets)
    if not is_coarse.any():
        return None
    column = int(is_coarse.argmax())
    which = f"target {column + 1} of {targets.shape[1]}" if targets.shape[1] > 1 else "the target"
    return (
        f"the answers are float32, whose steps near {targets[:, column].mean():,.10g} are {steps[column]:.2g}, and "
        f"{which} varies by {targets[:, column].std():.2g} (standard deviation): subtract a constant from the column, "
        "and learn the difference"
    )
