"""Which whole number each weight becomes: the nearest, or one that keeps the layer's outputs where they were.

Rounded one by one, weights of inputs that move together add their errors up. `compensated` rounds the weights of one
input after another, and lets the inputs not yet rounded make good what each leaves. After E. Frantar et al., "GPTQ:
Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR 2023: the inputs in the order of
their second moments, the largest first, and a damped matrix of moments.

Before that, `refitted` moves the weights to where they give the float layer's outputs for the inputs that really come:
quantized ones, which carry the errors of the layers before.

The exact greedy order (E. Frantar and D. Alistarh, "Optimal Brain Compression", NeurIPS 2022) was tried and is not
here: on a classifier of images it was no better at 4 and 3 bits, and it takes far longer, a factorization an output.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.numerics import quantize_symmetric

DAMPING = 0.01  # of the mean second moment, added to each: inputs that rows cannot tell apart share an error
# Likewise where weights are moved: with less they learn few calibration rows by heart, at the cost of all others.
REFIT_DAMPING = 0.3
_BLOCK = 64  # inputs rounded before the rest of the weights is told


@dataclass(frozen=True, eq=False)
class Moments:
    """What a layer's inputs were over the calibration rows, all in float64 and real units.

    mean: (n_in,) of the quantized inputs. covariance: (n_in, n_in) of the quantized inputs. cross: (n_in, n_in), the
    covariance of the quantized inputs with what quantization took from them, float minus quantized. Both are about the
    means if the bias is to be corrected, which takes the means' error, and about 0 if not. target: (n_out,), the mean
    of x @ weight + bias of the float layer on the float inputs.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    cross: NDArray[np.float64]
    target: NDArray[np.float64]


def moments(
    quantized: NDArray[np.floating],
    exact: NDArray[np.floating],
    preactivation: NDArray[np.floating],
    *,
    about_means: bool = True,
) -> Moments:
    """Moments over rows. quantized, exact: (n, n_in), real values. preactivation: (n, n_out) of the float layer."""
    found = quantized.astype(np.float64)
    lost = exact.astype(np.float64) - found
    mean, count = found.mean(axis=0), len(found)
    if about_means:
        found, lost = found - mean, lost - lost.mean(axis=0)
    return Moments(
        mean,
        found.T @ found / count,
        found.T @ lost / count,
        preactivation.mean(axis=0, dtype=np.float64),
    )


def refitted(weight: NDArray[np.floating], seen: Moments) -> NDArray[np.float64]:
    """The weights whose products with the quantized inputs are closest to those of `weight` with the float inputs.

    weight: (n_in, n_out). The least squares solution, damped: `weight` itself where quantization takes nothing.
    """
    exact = weight.astype(np.float64)
    return exact + np.linalg.solve(_damped(seen.covariance, REFIT_DAMPING), seen.cross @ exact)


def compensated(
    weight: NDArray[np.floating],
    scale: NDArray[np.float64],
    covariance: NDArray[np.float64],
    limit: int,
    *,
    low: int | None = None,
) -> NDArray[np.float64]:
    """Whole numbers q in low..limit such that inputs @ (q * scale) is close to inputs @ weight.

    weight: (n_in, n_out).
    scale: positive (n_out,), real value of one step.
    covariance: (n_in, n_in) of the inputs.
    low: -limit if it is not given.
    """
    return Compensation(covariance).rounded(weight, scale, limit, low=low)


class Compensation:
    """`compensated` for one covariance (n_in, n_in) of inputs: what roundings with many scales share."""

    def __init__(self, covariance: NDArray[np.float64]) -> None:
        self._damped = _damped(covariance)
        self._order = np.argsort(-np.diag(covariance), kind="stable")
        self._factor = _inverse_factor(self._damped[np.ix_(self._order, self._order)])

    def rounded(
        self, weight: NDArray[np.floating], scale: NDArray[np.float64], limit: int, *, low: int | None = None
    ) -> NDArray[np.float64]:
        """See `compensated`."""
        factor, left = self._factor, weight.astype(np.float64)[self._order]
        steps = np.empty_like(left)
        for start in range(0, len(left), _BLOCK):
            block = slice(start, start + _BLOCK)
            steps[block], errors = _round_block(left[block], scale, factor[block, block], limit, low)
            left[start + _BLOCK :] -= factor[block, start + _BLOCK :].T @ errors
        result = np.empty_like(steps)
        result[self._order] = steps
        return result

    def squared_errors(self, error: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean square of what weights that are off by `error` (n_in, n_out) add to each output, (n_out,)."""
        products: NDArray[np.float64] = (error * (self._damped @ error)).sum(axis=0)
        return products


def corrected_bias(rounded: NDArray[np.float64], seen: Moments) -> NDArray[np.float64]:
    """The bias (n_out,) with which the mean of each output over the rows is that of the float layer.

    rounded: the weights as they are used, (n_in, n_out). After M. Nagel et al., "Data-Free Quantization Through Weight
    Equalization and Bias Correction", ICCV 2019, with the means of real rows.
    """
    return seen.target - seen.mean @ rounded


def _round_block(
    left: NDArray[np.float64], scale: NDArray[np.float64], factor: NDArray[np.float64], limit: int, low: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The steps of a block's inputs, and the scaled error that each leaves to the inputs behind it."""
    left, steps, errors = left.copy(), np.empty_like(left), np.empty_like(left)
    for at in range(len(left)):
        steps[at] = quantize_symmetric(left[at], scale, limit, low=low)
        errors[at] = (left[at] - steps[at] * scale) / factor[at, at]
        left[at + 1 :] -= np.outer(factor[at, at + 1 :], errors[at])
    return steps, errors


def _damped(covariance: NDArray[np.float64], share: float = DAMPING) -> NDArray[np.float64]:
    """With a share of the mean second moment on the diagonal; ones where no input moves, so that it can be inverted."""
    mean = float(np.mean(np.diag(covariance)))
    return covariance + (share * mean if mean > 0 else 1.0) * np.eye(len(covariance))


def _inverse_factor(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The upper triangular U with U.T @ U = inverse of `matrix`, which is symmetric and positive definite."""
    return np.linalg.cholesky(np.linalg.inv(matrix)).T
