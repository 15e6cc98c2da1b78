"""Proof that the gradients are right: backpropagation against central differences, in float64."""

from __future__ import annotations

import copy

import numpy as np

from edge_runtime.array_types import Array
from trainer.fitting.batches import Rows
from trainer.losses import Loss
from trainer.network import FlatParameters, LayerChain


def relative_error(a: Array, b: Array) -> float:
    """|a - b| / (|a| + |b|) in the Euclidean norm; 0 where both are 0."""
    scale = float(np.linalg.norm(a) + np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / scale if scale > 0 else 0.0


def check_gradients(
    chain: LayerChain,
    parameters: FlatParameters,
    rng: np.random.Generator,
    loss: Loss,
    l2_lambda: float,
    rows: Rows,
    epsilon: float,
) -> float:
    """The relative error between the gradients of `chain` (float64) and (f(w + e) - f(w - e)) / 2e for every parameter.

    Dropout draws the same masks each time. Leaves parameters and state as they were.
    """
    kept, generator = parameters.snapshot(), copy.deepcopy(rng.bit_generator.state)
    chain.resize(len(rows))
    scratch = np.empty_like(rows.targets.values), np.empty_like(rows.targets.values)
    weights = parameters.values[: parameters.decayed]

    def cost() -> float:
        rng.bit_generator.state = generator
        outputs = chain.forward(rows.x, rng)
        total = loss.total(outputs, rows.targets.values, rows.targets.weight, *scratch) / len(rows)
        return total + 0.5 * l2_lambda * float(np.dot(weights, weights))

    cost()
    scale = loss.per_row(rows.targets.values.shape[1]) / len(rows)
    chain.backward(loss, rows.targets.values, rows.targets.weight, scale)
    exact = parameters.gradients.copy()
    exact[: parameters.decayed] += l2_lambda * weights
    numeric = np.empty_like(exact)
    for index, value in enumerate(parameters.values.copy()):
        costs = []
        for moved in (value + epsilon, value - epsilon):
            parameters.values[index] = moved
            costs.append(cost())
        parameters.values[index] = value
        numeric[index] = (costs[0] - costs[1]) / (2 * epsilon)
    parameters.restore(kept)
    rng.bit_generator.state = generator
    return relative_error(exact, numeric)
