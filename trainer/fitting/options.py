"""The settings of one training run, with their defaults, checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from edge_runtime.files import PathLike
from trainer.config import CHECKS, check_flag, check_number, check_whole
from trainer.data import STANDARDIZATIONS, Augmentation, ClassWeight
from trainer.history import EpochRecord
from trainer.losses import Loss
from trainer.optimizers import Optimizer, choose_optimizer
from trainer.schedules import Schedule, choose_schedule

_BATCH, _SMALL_BATCH, _FEWEST_STEPS = 32, 8, 8


@dataclass(frozen=True)
class Defaults:
    """What is used where nothing is said, by `NeuralNetworkModel`, `NeuralNetwork`, `smallnet train` and `demo` alike.

    They were chosen together, by measuring: `python -m benchmarks tables`. hidden: widths of the hidden layers, where a
    network is made for some data. l2, dropout: `NeuralNetworkModel`'s l2_lambda and dropout_rate; the penalty costs
    nothing on tables and helps images. batch_size None: see `TrainingOptions.for_rows`.
    """

    hidden: tuple[int, ...] = (96,)
    activation: str = "relu"
    l2: float = 1e-3
    dropout: float = 0.0
    epochs: int = 60
    batch_size: int | None = None
    optimizer: str = "adam"
    schedule: str = "cosine"
    validation_share: float = 0.1
    patience: int | None = 15
    min_delta: float = 0.0
    monitor: str = "loss"
    label_smoothing: float = 0.0
    standardize: str = "auto"


@dataclass(frozen=True)
class TrainingOptions:
    """See `NeuralNetworkModel.fit`, whose arguments these are. Raises ConfigurationError.

    monitor None: the metric where it is the accuracy, else the loss.
    """

    epochs: int
    batch_size: int | None
    learning_rate: float
    validation_share: float
    patience: int | None
    min_delta: float
    monitor: str | None
    shuffle: bool
    optimizer: Optimizer
    schedule: Schedule
    loss: str | Loss | None
    label_smoothing: float
    class_weight: ClassWeight
    standardize: str
    augment: Augmentation | None
    checkpoint: PathLike | None
    resume: PathLike | None
    on_epoch: Callable[[EpochRecord], object] | None

    def for_rows(self, rows: int) -> TrainingOptions:
        """With a batch size where none was given: an epoch of few rows has eight steps or more."""
        size = max(_SMALL_BATCH, min(_BATCH, rows // _FEWEST_STEPS)) if self.batch_size is None else self.batch_size
        return replace(self, batch_size=size)

    @classmethod
    def of(
        cls,
        *,
        optimizer: str | Optimizer,
        schedule: str | Schedule,
        learning_rate: float | None,
        augment: str | Augmentation | None,
        **others: object,
    ) -> TrainingOptions:
        """Options with optimizer, schedule and augmentation by name; learning_rate None is the optimizer's own."""
        rule = choose_optimizer(optimizer)
        rate = rule.default_learning_rate if learning_rate is None else learning_rate
        chosen = {"schedule": choose_schedule(schedule), "augment": Augmentation.of(augment)}
        return cls(optimizer=rule, learning_rate=rate, **chosen, **others)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        check_whole("epochs", self.epochs, 0)
        if self.batch_size is not None:
            check_whole("batch_size", self.batch_size, 1)
        check_number("learning_rate", self.learning_rate, above=0.0)
        check_number("validation_share", self.validation_share, low=0.0, below=1.0)
        check_number("min_delta", self.min_delta, low=0.0)
        if self.monitor is not None:
            CHECKS.choice("monitor", self.monitor, ("loss", "metric"))
        check_number("label_smoothing", self.label_smoothing, low=0.0, below=1.0)
        if self.patience is not None:
            check_whole("patience", self.patience, 1)
        CHECKS.choice("standardize", self.standardize, STANDARDIZATIONS)
        check_flag("shuffle", self.shuffle)
        for name in ("checkpoint", "resume"):
            if (path := getattr(self, name)) is not None:
                CHECKS.path(name, path, "the path of a file, or None")
        CHECKS.function("on_epoch", self.on_epoch, "a function of an EpochRecord")


SETTINGS = tuple(field.name for field in fields(TrainingOptions))
OF_ONE_RUN = ("checkpoint", "resume", "on_epoch")  # where a run is kept and who is told of it: no property of a network
