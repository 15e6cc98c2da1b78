"""Train small dense networks with NumPy.

    net = NeuralNetwork([64, 32, 10], ["relu", "softmax"], precision_config=PrecisionConfig(seed=7))
    history = net.fit(x, y, epochs=30, validation_data=(xv, yv), patience=5, standardize="global", on_epoch=print)
    net.partial_fit(x, y); net.history_.records; net.n_iter_; net.classes_
    net.predict(x); net.predict_proba(x); net.score(x, y); net.evaluate(x, y)
    net.to_model(class_names=..., metadata=...); net.save_weights("digits.npz"); net.load_weights("digits.npz")

`on_epoch` gets an `EpochRecord` (epoch, learning_rate, loss, metric, validation_loss, validation_metric) after each
epoch; `history.records` holds them all, `history.best_epoch` the one whose weights were kept. Errors derive from
`edge_runtime.SmallnetError`. The engine computes in as many threads as NumPy's BLAS was told to use: for one, set
OMP_NUM_THREADS=1 (OpenBLAS: OPENBLAS_NUM_THREADS=1) before Python starts.
"""

from edge_runtime.lazy import public_names
from trainer.config import DEFAULT_CONFIG, PrecisionConfig
from trainer.errors import CheckpointError, ConfigurationError, NotFittedError, TrainingDiverged
from trainer.fitting import HardwareLimitWarning, MemoryCount, Profile
from trainer.history import EpochRecord, History
from trainer.model import Evaluation, NeuralNetworkModel
from trainer.student import NeuralNetwork

__all__ = [
    "DEFAULT_CONFIG",
    "CheckpointError",
    "ConfigurationError",
    "EpochRecord",
    "Evaluation",
    "HardwareLimitWarning",
    "History",
    "MemoryCount",
    "NeuralNetwork",
    "NeuralNetworkModel",
    "NotFittedError",
    "PrecisionConfig",
    "Profile",
    "TrainingDiverged",
]


def __dir__() -> list[str]:
    return public_names(globals(), __all__)
