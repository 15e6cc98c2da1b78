"""Simulated hardware: what training allocates, byte by byte, and the batch that fits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_runtime import BudgetExceeded
from trainer.config import PrecisionConfig
from trainer.fitting.batches import Rows, batch_shapes
from trainer.fitting.options import TrainingOptions
from trainer.fitting.training import PENALTY_CHUNK
from trainer.network import Block, FlatParameters


class HardwareLimitWarning(UserWarning):
    """A setting was changed to fit the simulated hardware."""


@dataclass(frozen=True)
class MemoryCount:
    """Bytes that a network in training holds at its peak.

    parameters: weights, biases, other trained arrays and state. gradients: of all parameters. optimizer: what its rule
    remembers. kept_weights: the copy of the best epoch. activations: what the layers write for one batch. batch: the
    gathered rows and the loss's arrays. data: the copies of the rows that `fit` makes, targets, and the order of rows.
    """

    parameters: int
    gradients: int
    optimizer: int
    kept_weights: int
    activations: int
    batch: int
    data: int

    @property
    def total(self) -> int:
        """The sum."""
        return sum(asdict(self).values())

    def __str__(self) -> str:
        lines = [f"{name.replace('_', ' '):13} {count:>14,} B" for name, count in asdict(self).items()]
        return "\n".join([*lines, f"{'total':13} {self.total:>14,} B"])


def count_memory(
    blocks: tuple[Block, ...],
    parameters: FlatParameters,
    options: TrainingOptions,
    rows: Rows,
    validation: Rows | None,
    batch_size: int,
    owned_bytes: int,
) -> MemoryCount:
    """The bytes of training in batches of `batch_size`. owned_bytes: of the data's copies that `fit` made."""
    values = parameters.values.nbytes
    gathers = options.shuffle or rows.picked is not None or options.augment is not None
    batch = _bytes(batch_shapes(rows, batch_size, gathers=gathers))
    if options.augment is not None:
        batch += options.augment.scratch_bytes(batch_size, rows.x.shape[1])
    if validation is not None:
        batch += _bytes(batch_shapes(validation, batch_size, gathers=False))
    penalty = min(PENALTY_CHUNK, parameters.decayed) * parameters.values.itemsize
    return MemoryCount(
        parameters=values + parameters.state.nbytes,
        gradients=parameters.gradients.nbytes,
        optimizer=options.optimizer.slots * values + penalty,
        kept_weights=values + parameters.state.nbytes,
        activations=sum(block.scratch_bytes(batch_size, folds=validation is not None) for block in blocks),
        batch=batch,
        data=owned_bytes + len(rows) * 8,
    )


def _bytes(shapes: dict[str, tuple[tuple[int, ...], Any]]) -> int:
    return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in shapes.values())


def fitting_batch_size(config: PrecisionConfig, wanted: int, count: Callable[[int], MemoryCount]) -> int:
    """The largest batch size up to `wanted` that the simulated hardware allows; warns where that is lower.

    count: the bytes at a batch size. Raises BudgetExceeded where not even one row fits.
    """
    limit, budget = int(config.batch_size_limit), config.max_memory_bytes
    least = count(1)
    if least.total > budget:
        raise BudgetExceeded(
            f"training needs {least.total:,} B at batch size 1, max_memory_mb {config.max_memory_mb:g} allows "
            f"{budget:,} B, missing {least.total - budget:,} B; largest part: {_largest(least)}; "
            "use smaller layers, a plainer optimizer or fewer rows, or raise max_memory_mb"
        )
    low, high = 1, min(wanted, limit)
    while low < high:  # the largest size that fits lies in [low, high]: bytes grow with the size
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(middle).total <= budget else (low, middle - 1)
    if low < wanted:
        warnings.warn(
            f"batch size lowered from {wanted} to {low}: {wanted} rows need {count(wanted).total:,} B, "
            f"max_memory_mb {config.max_memory_mb:g} allows {budget:,} B and batch_size_limit {limit} rows",
            HardwareLimitWarning,
            stacklevel=5,
        )
    return low


def _largest(count: MemoryCount) -> str:
    name, value = max(asdict(count).items(), key=lambda item: item[1])
    return f"{name.replace('_', ' ')} with {value:,} B"
