"""Every error this project raises on purpose. Each message says what was found, what was expected and what to do."""


class SmallnetError(Exception):
    """Base of all errors raised on purpose, so that a command line can catch one type."""


class ArtifactError(SmallnetError, ValueError):
    """A file is not a readable artifact: damaged, of another version, or with contents that do not fit together."""


class ModelError(SmallnetError, ValueError):
    """The parts of a `Model` do not fit together (shapes, dtypes, grids, values)."""


class InputError(SmallnetError, ValueError):
    """Rows given to an engine, or read from a data file, have a wrong shape, dtype or value."""


class BudgetExceeded(SmallnetError, MemoryError):
    """A memory or size limit cannot be kept. The message states need, budget and the missing bytes."""


class OutputRefused(SmallnetError, ValueError):
    """An output file cannot be written under its name, or would take the place of something else."""


class QuantizationError(SmallnetError, ValueError):
    """A model cannot be quantized exactly with the given calibration rows. The message carries the numbers."""
