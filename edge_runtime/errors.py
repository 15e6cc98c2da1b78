"""Every error this project raises on purpose. Each message says what was found, what was expected and what to do."""

from __future__ import annotations

from typing import NamedTuple


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

    change: "max_batch=N", "mmap" (weights mapped from the file), "no test vectors", a precision, or several of them.
    """

    change: str
    need_bytes: int


class BudgetExceeded(SmallnetError, MemoryError):
    """A memory or size limit cannot be kept. The message states need, budget and the missing bytes.

    Where a model does not fit an engine's limits, the same as numbers: need_bytes, have_bytes, the largest layer's
    name, and the alternatives that would fit.
    """

    def __init__(
        self,
        message: str,
        *,
        need_bytes: int = 0,
        have_bytes: int = 0,
        layer: str = "",
        alternatives: tuple[Alternative, ...] = (),
    ) -> None:
        super().__init__(message)
        self.need_bytes, self.have_bytes, self.layer, self.alternatives = need_bytes, have_bytes, layer, alternatives

    @property
    def missing_bytes(self) -> int:
        """By how much the need exceeds the budget."""
        return self.need_bytes - self.have_bytes


class OutputRefused(SmallnetError, ValueError):
    """An output file cannot be written under its name, or would take the place of something else."""


class QuantizationError(SmallnetError, ValueError):
    """A model cannot be quantized exactly with the given calibration rows. The message carries the numbers."""
