"""Errors and warnings of training alone. The others stand in `edge_runtime.errors`."""

from edge_runtime.errors import SmallnetError


class ConfigurationError(SmallnetError, ValueError):
    """A setting of a network or of a training run is out of range. The message says what was found and expected."""


class TrainingDiverged(SmallnetError, ArithmeticError):
    """A loss or a weight became NaN or infinite. The message names epoch and layer; the best weights are kept.

    kept_epoch: the epoch that they are from, counted from 1; 0 for those that the network began with.
    """

    def __init__(self, message: str, kept_epoch: int = 0) -> None:
        super().__init__(message)
        self.kept_epoch = kept_epoch


class TrainingStopped(KeyboardInterrupt):
    """Ctrl-C during a training. The network keeps its best weights, or with a checkpoint those that it wrote.

    kept_epoch: the epoch that the best weights are from, counted from 1; 0 for those that the network began with.
    """

    def __init__(self, message: str, kept_epoch: int = 0) -> None:
        super().__init__(message)
        self.kept_epoch = kept_epoch


class CheckpointError(SmallnetError, ValueError):
    """A checkpoint is damaged, of another version, or of another run than the one that should continue."""


class NotFittedError(SmallnetError, ValueError, AttributeError):
    """A network is asked for predictions before it has learned. The bases are those of scikit-learn's error."""


class DataWarning(UserWarning):
    """Something in the training data that works, and that a user should look at."""
