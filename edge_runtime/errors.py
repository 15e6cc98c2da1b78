"""Every error this project raises on purpose. Each message says what was found, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class SmallnetError(Exception):
    """Base of all errors raised on purpose, so that a command line can catch one type."""


class ArtifactError(SmallnetError, ValueError):
    """A file is not a readable artifact: damaged, of another version, or with contents that do not fit together."""


class ModelError(SmallnetError, ValueError):
    """The parts of a `Model` do not fit together (shapes, dtypes, grids, values)."""


class InputError(SmallnetError, ValueError):
    """Rows given to an engine, or read from a data file, have a wrong shape, dtype or value."""


class Alternative(NamedTuple):
    """A change with which a model would fit, and the bytes that it needs then.

    change: "max_batch=N", "mmap" (weights mapped from the file), both of them, or what another program would do.
    """

    change: str
    need_bytes: int


class BudgetExceeded(SmallnetError, MemoryError):
    """A memory or size limit cannot be kept. The message states need, budget and the missing bytes.

    If a model does not fit an engine's limits, the same as numbers: need_bytes, have_bytes; the name of the layer that
    is responsible for the most of the need (see `engine.refusal`); the alternatives that would fit; beyond: the changes
    that help but are not enough by themselves; and the model and the limits, for whoever can offer more.
    """

    def __init__(
        self,
        problem: str,
        *,
        need_bytes: int = 0,
        have_bytes: int = 0,
        layer: str = "",
        alternatives: tuple[Alternative, ...] = (),
        beyond: tuple[Alternative, ...] = (),
        model: Any = None,
        limits: Any = None,
    ) -> None:
        self.problem, self.need_bytes, self.have_bytes, self.layer = problem, need_bytes, have_bytes, layer
        self.alternatives, self.beyond = alternatives, beyond
        self.model, self.limits = model, limits
        super().__init__(self.said(lambda change: change))

    def said(self, name: Callable[[str], str | None], more: Sequence[Alternative] = ()) -> str:
        """The message, with each change called `name(change)`, and left out if that is None.

        more: changes that somebody else offers, under the names that they shall have.
        """
        if not self.layer:
            return self.problem
        named = [(name(change), need) for change, need in (*self.alternatives, *self.beyond)]
        options = [(text, need) for text, need in (*named, *more) if text and need < self.need_bytes]
        fitting = [(text, need) for text, need in options if need <= self.have_bytes]
        if fitting:
            advice = "what would fit: " + "; ".join(f"{text} ({need:,} B)" for text, need in fitting)
        elif options:
            closest, need = min(options, key=lambda option: option[1])
            advice = f"nothing smaller fits, {closest} would need {need:,} B: use smaller layers"
        else:
            advice = "use smaller layers or a larger budget"
        return f"{self.problem}; {advice}"

    @property
    def missing_bytes(self) -> int:
        """By how much the need exceeds the budget."""
        return self.need_bytes - self.have_bytes


class NativeUnavailable(InputError):
    """Compiled kernels cannot be had here, or do not run this model. The message says what to do."""


class OutputRefused(SmallnetError, ValueError):
    """An output file cannot be written under its name, or would take the place of something else."""


class QuantizationError(SmallnetError, ValueError):
    """A model cannot be quantized exactly with the given calibration rows. The message carries the numbers."""


class CalibrationError(QuantizationError, InputError):
    """Calibration rows have a wrong shape, dtype or value: bad input, for which there is no quantization."""
