"""Learning-rate schedules: the factor that an epoch's learning rate is multiplied with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from edge_runtime.arguments import shown
from trainer.config import check_number, check_whole
from trainer.errors import ConfigurationError


@dataclass(frozen=True)
class Schedule:
    """factor(epoch, epochs): what the learning rate is multiplied with. epoch counts from 0."""

    name: ClassVar[str] = ""
    depends_on_length: ClassVar[bool] = False

    def factor(self, epoch: int, epochs: int) -> float:
        """The factor of one epoch."""
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Schedule):
    """Always 1."""

    name = "constant"

    def factor(self, epoch: int, epochs: int) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class Step(Schedule):
    """Multiplied with `decay` after every `every` epochs: decay^floor(epoch / every)."""

    name = "step"
    every: int = 10
    decay: float = 0.5

    def __post_init__(self) -> None:
        check_whole("every", self.every, 1)
        check_number("decay", self.decay, above=0.0)

    def factor(self, epoch: int, epochs: int) -> float:
        """decay^floor(epoch / every)."""
        return float(self.decay ** (epoch // self.every))


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 to `final` over the run (Loshchilov and Hutter 2017)."""

    name = "cosine"
    depends_on_length = True
    final: float = 0.0

    def __post_init__(self) -> None:
        check_number("final", self.final, low=0.0)

    def factor(self, epoch: int, epochs: int) -> float:
        """final + (1 - final) * (1 + cos(pi * epoch / epochs)) / 2."""
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))


SCHEDULES: dict[str, Schedule] = {schedule.name: schedule for schedule in (Constant(), Step(), Cosine())}


def choose_schedule(spec: str | Schedule) -> Schedule:
    """The schedule that `spec` names, or `spec` itself. Raises ConfigurationError."""
    if isinstance(spec, Schedule):
        return spec
    if not isinstance(spec, str) or spec not in SCHEDULES:
        raise ConfigurationError(f"schedule is {shown(spec)}, expected one of {', '.join(SCHEDULES)} or a Schedule")
    return SCHEDULES[spec]
