"""Where the time and the bytes of training go, layer by layer."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from statistics import median

import numpy as np

from edge_runtime.array_types import Array
from trainer.losses import Loss
from trainer.network import Block, LayerChain

_PASSES = ("forward", "backward")
_KEPT = 1000  # the latest passes that the medians are taken over


@dataclass(frozen=True)
class LayerProfile:
    """One layer: median microseconds of a pass over one batch, and bytes of parameters and of what it writes."""

    name: str
    forward_us: float
    backward_us: float
    parameter_bytes: int
    activation_bytes: int


@dataclass(frozen=True)
class Profile:
    """A row per layer, for batches of `rows`. Printing it gives a table."""

    layers: tuple[LayerProfile, ...]
    rows: int

    def __repr__(self) -> str:
        """The sums, in one line."""
        forward, backward = (sum(getattr(layer, f"{name}_us") for layer in self.layers) for name in _PASSES)
        layers = f"{len(self.layers):,} layers, {self.rows:,} rows"
        return f"Profile({layers}, forward {forward:,.1f} us, backward {backward:,.1f} us)"

    def __str__(self) -> str:
        lines = [f"{'layer':24} {'forward us':>11} {'backward us':>12} {'parameters B':>13} {'activations B':>14}"]
        total = LayerProfile(
            f"total, {self.rows} rows",
            sum(layer.forward_us for layer in self.layers),
            sum(layer.backward_us for layer in self.layers),
            sum(layer.parameter_bytes for layer in self.layers),
            sum(layer.activation_bytes for layer in self.layers),
        )
        for layer in (*self.layers, total):
            lines.append(
                f"{layer.name:24} {layer.forward_us:11.1f} {layer.backward_us:12.1f} "
                f"{layer.parameter_bytes:13,} {layer.activation_bytes:14,}"
            )
        return "\n".join(lines)


class ProfiledChain(LayerChain):
    """A `LayerChain` with a clock between its blocks."""

    def __init__(self, blocks: tuple[Block, ...]) -> None:
        super().__init__(blocks)
        self.start()

    def start(self) -> None:
        """Forget what was measured."""
        self._forward: list[deque[float]] = [deque(maxlen=_KEPT) for _ in self.blocks]
        self._backward: list[deque[float]] = [deque(maxlen=_KEPT) for _ in self.blocks]
        self._most_rows = 0

    def forward(self, x: Array, rng: np.random.Generator) -> Array:
        """As `LayerChain.forward`, measured."""
        self._most_rows = max(self._most_rows, len(x))
        for block, times in zip(self.blocks, self._forward, strict=True):
            started = time.perf_counter()
            x = block.forward(x, rng)
            times.append(time.perf_counter() - started)
        return x

    def backward(self, loss: Loss, targets: Array, weight: Array | None, scale: float) -> None:
        """As `LayerChain.backward`, measured; the loss's gradient counts for the last layer."""
        started = time.perf_counter()
        self._start_backward(loss, targets, weight, scale)
        for position in range(len(self.blocks) - 1, -1, -1):
            self._backward_block(position)
            now = time.perf_counter()
            self._backward[position].append(now - started)
            started = now

    def report(self) -> Profile:
        """What was measured since `start`."""
        rows = self._most_rows
        layers = tuple(
            LayerProfile(
                f"dense{index} {block.dense.n_in}x{block.dense.n_out} {block.activation}",
                1e6 * median(forward) if forward else 0.0,
                1e6 * median(backward) if backward else 0.0,
                sum(
                    getattr(layer, name).nbytes for layer in (block.dense, *block.between) for name in layer.PARAMETERS
                ),
                block.scratch_bytes(rows),
            )
            for index, (block, forward, backward) in enumerate(
                zip(self.blocks, self._forward, self._backward, strict=True)
            )
        )
        return Profile(layers, rows)
