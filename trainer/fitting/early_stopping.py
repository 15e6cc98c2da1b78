"""When to stop, and which weights to keep."""

from __future__ import annotations

import math
from typing import Any

from trainer.network import FlatParameters


class EarlyStopping:
    """Watches one number per epoch, lower is better, and keeps the weights of the best epoch.

    An epoch is better when its value is more than `min_delta` below the best. After `patience` epochs in a row that are
    not, `should_stop` is True; patience None never stops. `is_watching` False keeps the last epoch's weights instead.
    `least_loss`: of the best epoch, where a lower one decides between equal values; None where the first of them stays.
    `most_loss`: an epoch whose loss is higher is not better, whatever its value; None for any.
    """

    def __init__(self, patience: int | None, min_delta: float, is_watching: bool, parameters: FlatParameters) -> None:
        self.patience, self.min_delta, self.is_watching = patience, min_delta, is_watching
        self.best_value, self.best_epoch, self.waited = math.inf, 0, 0
        self.least_loss: float | None = None
        self.most_loss: float | None = None
        self.best = parameters.snapshot()  # the first epoch may already fail

    def update(self, epoch: int, value: float, parameters: FlatParameters, loss: float | None = None) -> None:
        """Take in the value of a finished epoch, and its loss on the rows that are watched."""
        if not self.is_watching or self._is_better(value, loss):
            self.best_value, self.best_epoch, self.waited = value, epoch, 0
            self.least_loss = None if self.least_loss is None else loss
            for kept, current in zip(self.best, (parameters.values, parameters.state), strict=True):
                kept[...] = current
        else:
            self.waited += 1

    def _is_better(self, value: float, loss: float | None) -> bool:
        if loss is not None and self.most_loss is not None and loss > self.most_loss:
            return False
        is_finer = loss is not None and self.least_loss is not None and loss < self.least_loss
        return value < self.best_value - self.min_delta or (value == self.best_value and is_finer)

    @property
    def should_stop(self) -> bool:
        """Whether patience is over."""
        return self.is_watching and self.patience is not None and self.waited >= self.patience

    def restore(self, parameters: FlatParameters) -> None:
        """Put the kept weights back."""
        parameters.restore(self.best)

    def counters(self) -> dict[str, Any]:
        """What to store besides the kept weights."""
        return {"best_value": self.best_value, "best_epoch": self.best_epoch, "waited": self.waited}

    def set_counters(self, counters: dict[str, Any]) -> None:
        """Take `counters` back."""
        self.best_value, self.best_epoch = float(counters["best_value"]), int(counters["best_epoch"])
        self.waited = int(counters["waited"])
