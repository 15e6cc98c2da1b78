"""The network with scikit-learn's conventions, without needing scikit-learn."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edge_runtime import InputError, Model
from edge_runtime.array_types import Array
from edge_runtime.numerics import Activation
from trainer.config import PrecisionConfig
from trainer.data import ClassWeight, as_truth
from trainer.errors import ConfigurationError
from trainer.fitting import TrainingOptions, pair_of
from trainer.history import History
from trainer.losses import Loss
from trainer.model import Evaluation, NeuralNetworkModel
from trainer.optimizers import Optimizer
from trainer.schedules import Schedule


class NeuralNetwork(NeuralNetworkModel):
    """`NeuralNetworkModel` whose training settings are parameters, so that scikit-learn's tools can search over them.

    The first five parameters and `batch_norm`, `between`, `init` are those of `NeuralNetworkModel`; the others are the
    defaults of `fit`'s arguments, which win when given. `fit` starts from fresh weights, so that it gives the same
    network however often it is called; warm_start=True starts from the present ones. class_names: one per output,
    stored with the network; without them the labels' own names are, where these are text.

    Labels may be 0..n_out-1, or any n_out different values (text too); `predict` gives them back. After `fit`:
    `classes_` (n_out,), `history_`, `n_features_in_`, and for enable_profiling `profile_`.
    """

    def __init__(
        self,
        layer_sizes: Sequence[int] = (64, 32, 10),
        activations: Sequence[str | Activation] = ("relu", "softmax"),
        l2_lambda: float = 0.0,
        dropout_rate: float = 0.0,
        precision_config: PrecisionConfig | None = None,
        *,
        batch_norm: bool = False,
        between: Sequence[str] = (),
        init: str = "xavier",
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float | None = None,
        patience: int | None = None,
        min_delta: float = 0.0,
        monitor: str = "loss",
        shuffle: bool = True,
        optimizer: str | Optimizer = "sgd",
        schedule: str | Schedule = "constant",
        loss: str | Loss | None = None,
        label_smoothing: float = 0.0,
        class_weight: ClassWeight = None,
        standardize: str = "none",
        class_names: Sequence[str] = (),
        warm_start: bool = False,
    ) -> None:
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.patience, self.min_delta, self.monitor, self.shuffle = patience, min_delta, monitor, shuffle
        self.optimizer, self.schedule, self.loss = optimizer, schedule, loss
        self.label_smoothing, self.class_weight, self.standardize = label_smoothing, class_weight, standardize
        self.warm_start = warm_start
        super().__init__(
            layer_sizes, activations, l2_lambda, dropout_rate, precision_config,
            batch_norm=batch_norm, between=between, init=init,
        )  # fmt: skip
        self.class_names = class_names
        self.classes_ = np.arange(max(self.n_out, 2))
        self._flat_targets = False

    def fit(self, x: ArrayLike, y: ArrayLike, **settings: Any) -> History:
        """Train on rows x (rows, n_in) and labels or targets y; returns the history.

        settings: any of `NeuralNetworkModel.fit`'s keyword arguments; where one is missing, the parameter of the same
        name is taken. Raises what `NeuralNetworkModel.fit` raises, and TypeError for an unknown setting.
        """
        run_only = {
            "sample_weight": None,
            "validation_data": None,
            "checkpoint": None,
            "resume": None,
            "on_epoch": None,
        }
        values = {name: getattr(self, name) for name in _FIT_SETTINGS} | run_only
        for name in settings:
            if name not in values:
                raise TypeError(f"fit() got an unexpected setting {name!r}, expected one of {', '.join(values)}")
        values |= settings
        validation, sample_weight = values.pop("validation_data"), values.pop("sample_weight")
        options = TrainingOptions.of(**values)
        labels = self._learn_classes(as_truth(y))
        if validation is not None:
            validation = (pair_of(validation)[0], self._to_indices(pair_of(validation)[1]))
        if not self.warm_start:
            self.reset()
        self.n_features_in_ = self.n_in
        self.history_ = self._train(x, labels, validation, options, sample_weight)
        return self.history_

    def predict(self, x: ArrayLike) -> Array:
        """Labels (rows,) as `fit` was given them, or outputs (rows, n_out); (rows,) where the targets were (rows,)."""
        result = super().predict(x)
        if self.is_classifier:
            return self.classes_[result]
        return result[:, 0] if self._flat_targets else result

    def predict_proba(self, x: ArrayLike) -> Array:
        """The probability of each class, (rows, classes), in the order of `classes_`. For classifiers only."""
        if self.final_activation.name not in ("softmax", "sigmoid"):
            raise ConfigurationError(
                f"predict_proba needs softmax or sigmoid as the last activation, found {self.final_activation.name}"
            )
        outputs = self.forward(x)
        return np.column_stack([1 - outputs, outputs]) if self.n_out == 1 else outputs

    def evaluate(self, x: ArrayLike, y: ArrayLike, *, loss: str | Loss | None = None) -> Evaluation:
        """Loss (without the L2 penalty) and metric over rows, with `infer_precision`."""
        return super().evaluate(x, self._to_indices(y), loss=self.loss if loss is None else loss)

    def score(self, x: ArrayLike, y: ArrayLike) -> float:
        """Accuracy for a classifier; else R^2, the mean over the outputs (1 is perfect, 0 as good as the mean)."""
        predicted, truth = self.predict(x), as_truth(y)
        if len(predicted) != len(truth):
            raise InputError(f"y has {len(truth)} rows, expected {len(predicted)}, one for each row of x")
        if self.is_classifier:
            truth = truth.argmax(axis=1) if truth.ndim == 2 and truth.shape[1] > 1 else truth.reshape(-1)
            return float(np.mean(predicted == truth))
        truth = truth.reshape(predicted.shape).astype(np.float64)
        error = np.square(truth - predicted).sum(axis=0)
        spread = np.square(truth - truth.mean(axis=0)).sum(axis=0)
        return float(np.mean(1 - error / np.where(spread > 0, spread, 1)))

    def to_model(self, class_names: Sequence[str] | None = None, metadata: Mapping[str, str] | None = None) -> Model:
        """As `NeuralNetworkModel.to_model`; labels that are text name the classes where nothing else does."""
        names = self.class_names if class_names is None else class_names
        if not len(names) and self.classes_.dtype.kind in "UO" and len(self.classes_) == self.n_out:
            names = [str(label) for label in self.classes_]
        return super().to_model(names, metadata)

    # scikit-learn's conventions

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters of `__init__` and their values."""
        return {
            name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if name != "self"
        }

    def set_params(self, **params: Any) -> NeuralNetwork:
        """Change parameters; the network is then built anew, untrained. Raises ConfigurationError for unknown names."""
        known = self.get_params()
        for name in params:
            if name not in known:
                raise ConfigurationError(f"parameter {name!r} is not known, expected one of {', '.join(known)}")
        if params:
            self.__init__(**{**known, **params})  # type: ignore[misc]
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "history_")

    def __sklearn_tags__(self) -> Any:
        # asked for by scikit-learn alone, so it is loaded by then
        utils = sys.modules["sklearn.utils"]
        kind = "classifier" if self._estimator_type == "classifier" else "regressor"
        return utils.Tags(
            estimator_type=kind,
            target_tags=utils.TargetTags(required=True),
            classifier_tags=utils.ClassifierTags() if kind == "classifier" else None,
            regressor_tags=utils.RegressorTags() if kind == "regressor" else None,
        )

    @property
    def _estimator_type(self) -> str:
        return "classifier" if self.is_classifier else "regressor"

    # labels

    @property
    def _takes_labels(self) -> bool:
        return self.final_activation.name == "softmax" or self.n_out > 1 or self.final_activation.name == "sigmoid"

    def _learn_classes(self, y: Array) -> Array:
        """Set `classes_` from the training labels; returns them as indices, or other targets as they are."""
        count = max(self.n_out, 2)
        self._flat_targets = y.ndim == 1
        self.classes_ = np.arange(count)
        if y.ndim != 1 or not self._takes_labels or len(y) == 0 or _are_indices(y, count):
            return y
        if y.dtype.kind == "f" and self.n_out == 1:
            return y  # probabilities as targets
        values = np.unique(y)
        if len(values) != count:
            shown = ", ".join(str(value) for value in values[:5])
            raise InputError(
                f"y holds {len(values)} different labels ({shown}{', ...' if len(values) > 5 else ''}), "
                f"expected {count} or whole numbers from 0 to {count - 1}"
            )
        self.classes_ = values
        return self._to_indices(y)

    def _to_indices(self, y: ArrayLike) -> Array:
        """Labels as indices into `classes_`; targets as they are."""
        array = as_truth(y)
        if array.ndim != 1 or not self._takes_labels or (array.dtype.kind == "f" and self.classes_.dtype.kind == "i"):
            return array
        is_number, wants_number = array.dtype.kind in "fiub", self.classes_.dtype.kind in "fiub"
        if is_number and wants_number and np.array_equal(self.classes_, np.arange(len(self.classes_))):
            return array
        if is_number != wants_number:
            raise InputError(f"y holds {array.dtype} labels, expected some of {', '.join(map(str, self.classes_))}")
        indices = np.searchsorted(self.classes_, array).clip(0, len(self.classes_) - 1)
        is_strange = self.classes_[indices] != array
        if is_strange.any():
            strange, known = array[is_strange][0], ", ".join(map(str, self.classes_))
            raise InputError(f"y holds label {strange}, expected one of {known}")
        return indices


def _are_indices(y: Array, count: int) -> bool:
    """Whether these are whole numbers from 0 to count - 1."""
    if y.dtype.kind not in "fiub" or not np.isfinite(y).all():
        return False
    return bool(y.min() >= 0 and y.max() < count and np.array_equal(y, np.rint(y)))


_FIT_SETTINGS = (
    "epochs", "batch_size", "learning_rate", "patience", "min_delta", "monitor", "shuffle", "optimizer", "schedule",
    "loss", "label_smoothing", "class_weight", "standardize",
)  # fmt: skip
