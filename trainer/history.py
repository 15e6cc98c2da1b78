"""What a training run recorded, epoch by epoch. It holds no times, so that equal runs have equal histories."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch, counted from 1.

    loss: mean over the training rows as they were trained on (with dropout, before each update), without the L2
    penalty. metric: accuracy for labels, mean absolute error otherwise, of the same outputs. validation_loss,
    validation_metric: of the validation rows after the epoch, or None without them.
    """

    epoch: int
    learning_rate: float
    loss: float
    metric: float
    validation_loss: float | None = None
    validation_metric: float | None = None

    def __repr__(self) -> str:
        """Six digits of each figure, in one line; the fields hold them whole."""
        shown = [f"{name}={value:.6g}" for name, value in asdict(self).items() if value is not None]
        return f"EpochRecord({', '.join(shown)})"


@dataclass
class History:
    """The records of a run. best_epoch: the one whose weights were kept (the last one where nothing was monitored)."""

    records: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    stopped_early: bool = False
    metric_name: str = "accuracy"

    def __repr__(self) -> str:
        """How far it went and what came of it, in one line; `records` holds every epoch."""
        if not self.records:
            return "History(0 epochs)"
        kept = self.records[min(max(self.best_epoch, 1), len(self.records)) - 1]
        text = f"{len(self.records):,} epochs{', stopped early' if self.stopped_early else ''}, kept {kept.epoch:,}"
        text += f", loss {kept.loss:.4g}, {self.metric_name} {kept.metric:.4g}"
        if kept.validation_loss is not None:
            text += f", validation loss {kept.validation_loss:.4g}"
        if kept.validation_metric is not None:
            text += f", validation {self.metric_name} {kept.validation_metric:.4g}"
        return f"History({text})"

    @property
    def loss(self) -> list[float]:
        """Training losses in order."""
        return [record.loss for record in self.records]

    @property
    def metric(self) -> list[float]:
        """Training metrics in order."""
        return [record.metric for record in self.records]

    @property
    def validation_loss(self) -> list[float]:
        """Validation losses in order; empty without validation rows."""
        return [record.validation_loss for record in self.records if record.validation_loss is not None]

    @property
    def validation_metric(self) -> list[float]:
        """Validation metrics in order; empty without validation rows."""
        return [record.validation_metric for record in self.records if record.validation_metric is not None]

    def followed_by(self, other: History) -> History:
        """This run and the one that went on from it, as one: its epochs are counted on."""
        done = len(self.records)
        later = [replace(record, epoch=done + record.epoch) for record in other.records]
        best = done + other.best_epoch if other.best_epoch else self.best_epoch
        return History([*self.records, *later], best, other.stopped_early, other.metric_name)

    def to_json(self) -> str:
        """The history as JSON: equal histories give equal text."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> History:
        """The history that `to_json` wrote."""
        values = json.loads(text)
        values["records"] = [EpochRecord(**record) for record in values["records"]]
        return cls(**values)
