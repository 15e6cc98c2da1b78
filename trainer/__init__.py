"""Train small dense networks with NumPy.

    net = NeuralNetwork([64, 32, 10], ["relu", "softmax"], precision_config=PrecisionConfig(seed=7))
    history = net.fit(x, y, epochs=30, validation_data=(xv, yv), patience=5, on_epoch=print)
    net.partial_fit(x, y); net.history_.records; net.n_iter_; net.classes_
    net.predict(x); net.predict_proba(x); net.score(x, y); net.evaluate(x, y)
    net.to_model(class_names=..., metadata=..., dataset=...)
    net.save_weights("digits.npz"); net.load_weights("digits.npz")
    fine_tune(net, quantized, x, y)  # int8 or int4, of export.quantize, trained on the integers that it runs on

With scikit-learn (`pip install 'smallnet[sklearn]'`), for its pipelines and searches, both ends from the data:

    DenseClassifier(hidden=(32,)).fit(x, y); DenseRegressor(hidden=(32,)).fit(x, targets)

`on_epoch` gets an `EpochRecord` (epoch, learning_rate, loss, metric, validation_loss, validation_metric) after each
epoch; `history.records` holds them all, `history.best_epoch` the one whose weights were kept. Errors derive from
`edge_runtime.SmallnetError`. The engine computes in as many threads as NumPy's BLAS was told to use: for one, set
OMP_NUM_THREADS=1 (OpenBLAS: OPENBLAS_NUM_THREADS=1) before Python starts.
"""

import importlib.util
from typing import TYPE_CHECKING, Any

from edge_runtime.lazy import public_names
from edge_runtime.version import __version__ as __version__
from trainer.config import DEFAULT_CONFIG, PrecisionConfig
from trainer.errors import CheckpointError, ConfigurationError, DataWarning, NotFittedError, TrainingDiverged
from trainer.fine_tuning import fine_tune
from trainer.fitting import HardwareLimitWarning, MemoryCount, Profile
from trainer.history import EpochRecord, History
from trainer.model import Evaluation, NeuralNetworkModel
from trainer.student import NeuralNetwork

if TYPE_CHECKING:
    from trainer.estimators import DenseClassifier as DenseClassifier
    from trainer.estimators import DenseRegressor as DenseRegressor

__all__ = [
    "DEFAULT_CONFIG",
    "CheckpointError",
    "ConfigurationError",
    "DataWarning",
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
    "fine_tune",
]


_FOR_SCIKIT_LEARN = ["DenseClassifier", "DenseRegressor"]
if importlib.util.find_spec("sklearn") is not None:
    __all__ += _FOR_SCIKIT_LEARN


def __getattr__(name: str) -> Any:
    if name not in _FOR_SCIKIT_LEARN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("trainer.estimators"), name)


def __dir__() -> list[str]:
    return public_names(globals(), __all__)
