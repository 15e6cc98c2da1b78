"""Optimizers: one update of one flat parameter vector, in place. `gradient` is scratch afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edge_runtime.arguments import shown
from edge_runtime.array_types import Array
from trainer.config import check_number
from trainer.errors import ConfigurationError


@dataclass(frozen=True)
class Optimizer:
    """The rule of an update. What it remembers between steps lives in the arrays that `start` makes.

    `default_learning_rate` is used where none is given. `is_decoupled` says that the L2 penalty is the rule's own
    decay, `takes_scaled_gradient` that `step` is given rate * gradient.
    """

    name: ClassVar[str] = ""
    default_learning_rate: ClassVar[float] = 0.1
    slots: ClassVar[int] = 0
    is_decoupled: ClassVar[bool] = False
    takes_scaled_gradient: ClassVar[bool] = False

    def start(self, size: int, dtype: np.dtype[Any]) -> list[Array]:
        """Zeroed arrays (size,) that the rule keeps between steps."""
        return [np.zeros(size, dtype) for _ in range(self.slots)]

    def step(self, values: Array, gradient: Array, slots: list[Array], step: int, rate: float) -> None:
        """Update `values` (size,) in place. step counts from 1; rate is the learning rate of this step."""
        raise NotImplementedError


@dataclass(frozen=True)
class SGD(Optimizer):
    """w -= rate * g."""

    name = "sgd"
    takes_scaled_gradient = True  # the rate is multiplied into the few output gradients, which saves a pass over all

    def step(self, values: Array, gradient: Array, slots: list[Array], step: int, rate: float) -> None:
        """One update; `gradient` is rate * g."""
        np.subtract(values, gradient, out=values)


@dataclass(frozen=True)
class Momentum(Optimizer):
    """v = momentum * v + g; w -= rate * v (as PyTorch), or with nesterov w -= rate * (g + momentum * v)."""

    name = "momentum"
    default_learning_rate = 0.02
    slots = 1
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        check_number("momentum", self.momentum, low=0.0, below=1.0)

    def step(self, values: Array, gradient: Array, slots: list[Array], step: int, rate: float) -> None:
        """One update."""
        velocity, kind = slots[0], gradient.dtype.type
        np.multiply(velocity, kind(self.momentum), out=velocity)
        np.add(velocity, gradient, out=velocity)
        if self.nesterov:
            np.multiply(gradient, kind(rate), out=gradient)
            np.subtract(values, gradient, out=values)
        np.multiply(velocity, kind(rate * self.momentum if self.nesterov else rate), out=gradient)
        np.subtract(values, gradient, out=values)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): steps scaled by running means of the gradient and its square, bias-corrected."""

    name = "adam"
    default_learning_rate = 0.005  # five times that of larger networks: see `python -m benchmarks tables`
    slots = 2
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_number("beta1", self.beta1, low=0.0, below=1.0)
        check_number("beta2", self.beta2, low=0.0, below=1.0)
        check_number("epsilon", self.epsilon, above=0.0)

    def step(self, values: Array, gradient: Array, slots: list[Array], step: int, rate: float) -> None:
        """One update: w -= rate / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + epsilon)."""
        first, second = slots
        kind = gradient.dtype.type
        _move_towards(first, gradient, kind(self.beta1))
        np.multiply(gradient, gradient, out=gradient)
        _move_towards(second, gradient, kind(self.beta2))
        np.multiply(second, kind(1 / (1 - self.beta2**step)), out=gradient)
        np.sqrt(gradient, out=gradient)
        np.add(gradient, kind(self.epsilon), out=gradient)
        np.divide(first, gradient, out=gradient)
        np.multiply(gradient, kind(rate / (1 - self.beta1**step)), out=gradient)
        np.subtract(values, gradient, out=values)


def _move_towards(mean: Array, value: Array, keep: Any) -> None:
    """mean = keep * mean + (1 - keep) * value, with no array besides the two: keep * (mean - value) + value."""
    np.subtract(mean, value, out=mean)
    np.multiply(mean, keep, out=mean)
    np.add(mean, value, out=mean)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with the L2 penalty as decoupled weight decay (Loshchilov and Hutter 2019):

    w -= rate * l2_lambda * w before each step.
    """

    name = "adamw"
    is_decoupled = True


OPTIMIZERS: dict[str, Optimizer] = {rule.name: rule for rule in (SGD(), Momentum(), Adam(), AdamW())}


def choose_optimizer(spec: str | Optimizer) -> Optimizer:
    """The optimizer that `spec` names, or `spec` itself. Raises ConfigurationError."""
    if isinstance(spec, Optimizer):
        return spec
    if not isinstance(spec, str) or spec not in OPTIMIZERS:
        raise ConfigurationError(f"optimizer is {shown(spec)}, expected one of {', '.join(OPTIMIZERS)} or an Optimizer")
    return OPTIMIZERS[spec]
