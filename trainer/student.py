"""The network with scikit-learn's conventions, without needing scikit-learn."""

from __future__ import annotations

import inspect
import sys
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edge_runtime import InputError, Model
from edge_runtime.arguments import shown
from edge_runtime.array_types import Array
from edge_runtime.files import PathLike
from edge_runtime.inputs import frame_inputs
from edge_runtime.numerics import Activation, frame_names, frame_numbers, is_frame
from edge_runtime.schema import KEY, Column, Schema
from trainer.config import CHECKS, PrecisionConfig, check_flag
from trainer.data import Augmentation, ClassWeight, Dataset, as_truth, class_indices
from trainer.errors import ConfigurationError, DataWarning, NotFittedError
from trainer.fitting import OF_ONE_RUN, SETTINGS, Defaults, TrainingOptions, pair_of
from trainer.history import EpochRecord, History
from trainer.losses import Loss
from trainer.model import Evaluation, NeuralNetworkModel, checked_class_names
from trainer.optimizers import Optimizer
from trainer.schedules import Schedule
from trainer.scores import value_scores


class _AsSet:
    """Stands in `fit`'s signature for: as the parameter of this name says."""

    def __repr__(self) -> str:
        return "<as set>"


AS_SET: Any = _AsSet()
_FEWEST_FIRST = 10  # rows of a first partial_fit whose mean and deviation may stand for all
_FIT_SETTINGS = tuple(name for name in SETTINGS if name not in OF_ONE_RUN)
ONE_RUN: dict[str, Any] = dict.fromkeys(OF_ONE_RUN)
OF_THE_BUILD = (
    "layer_sizes", "activations", "dropout_rate", "precision_config", "batch_norm", "between", "init",
)  # fmt: skip


class NeuralNetwork(NeuralNetworkModel):
    """`NeuralNetworkModel` whose training settings are parameters, so that scikit-learn's tools can search over them.

    The first five parameters and `batch_norm`, `between`, `init` are those of `NeuralNetworkModel`; the others are the
    defaults of `fit`'s arguments, which win when given. `fit` starts from fresh weights, so that it gives the same
    network however often it is called; warm_start=True starts from the present ones. class_names: one per output,
    stored with the network; without them the labels' own names are, where these are not 0..n_out-1. class_weight:
    "balanced", {label: number}, or a number for each of `classes_`.

    Rows may be a frame of pandas or polars: `feature_names_in_` (n_in,) keeps the names of its columns, and later
    frames are read by them, in any order, without the columns that `fit` did not see. Arrays are taken by place.

    Labels may be 0..n_out-1, or any n_out different values (text too); `predict` gives them back. After `fit`:
    `classes_` (n_out,), `history_`, `loss_curve_`, `n_iter_`, `n_features_in_`, and for enable_profiling `profile_`.

    `predict`, `predict_proba` and `score` raise NotFittedError as long as the weights are those that were drawn; that
    ends with `fit`, `partial_fit`, `load_weights`, or training by hand, which writes into `weights`.
    """

    def __init__(
        self,
        layer_sizes: Sequence[int] = (64, 32, 10),
        activations: Sequence[str | Activation] = ("relu", "softmax"),
        l2_lambda: float = Defaults.l2,
        dropout_rate: float = Defaults.dropout,
        precision_config: PrecisionConfig | None = None,
        *,
        batch_norm: bool = False,
        between: Sequence[str] = (),
        init: str = "xavier",
        epochs: int = Defaults.epochs,
        batch_size: int | None = Defaults.batch_size,
        learning_rate: float | None = None,
        validation_share: float = Defaults.validation_share,
        patience: int | None = Defaults.patience,
        min_delta: float = Defaults.min_delta,
        monitor: str = Defaults.monitor,
        shuffle: bool = True,
        optimizer: str | Optimizer = Defaults.optimizer,
        schedule: str | Schedule = Defaults.schedule,
        loss: str | Loss | None = None,
        label_smoothing: float = Defaults.label_smoothing,
        class_weight: ClassWeight = None,
        standardize: str = Defaults.standardize,
        augment: str | Augmentation | None = None,
        class_names: Sequence[str] = (),
        warm_start: bool = False,
    ) -> None:
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.validation_share, self.patience, self.min_delta = validation_share, patience, min_delta
        self.monitor, self.shuffle = monitor, shuffle
        self.optimizer, self.schedule, self.loss = optimizer, schedule, loss
        self.label_smoothing, self.class_weight, self.standardize = label_smoothing, class_weight, standardize
        self.augment, self.warm_start = augment, warm_start
        super().__init__(
            layer_sizes, activations, l2_lambda, dropout_rate, precision_config,
            batch_norm=batch_norm, between=between, init=init,
        )  # fmt: skip
        self.class_names = class_names

    def _build(self) -> None:
        super()._build()
        self._forget()

    def reset(self) -> None:
        """Draw fresh weights from the configured seed and forget what was learned: the network as it was made."""
        super().reset()
        self._forget()

    def _forget(self) -> None:
        """Drop what `fit` has left; the weights are those that were drawn."""
        for name in [name for name in vars(self) if name.endswith("_") and not name.endswith("__")]:
            delattr(self, name)
        self._was_loaded = False
        self._schema: Schema | None = None
        self._drawn = self._fingerprint()

    def _fingerprint(self) -> int:
        return zlib.crc32(self.parameters.values.data)

    @property
    def _has_learned(self) -> bool:
        return hasattr(self, "history_") or self._was_loaded or self._fingerprint() != self._drawn

    def _require_learned(self, what: str) -> None:
        if not self._has_learned:
            raise NotFittedError(
                f"{what} needs a network that has learned, and this one has the weights that were drawn for it; "
                "call fit, or load_weights (forward and evaluate take any weights)"
            )

    # training

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        epochs: int = AS_SET,
        batch_size: int | None = AS_SET,
        learning_rate: float | None = AS_SET,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        validation_share: float = AS_SET,
        patience: int | None = AS_SET,
        min_delta: float = AS_SET,
        monitor: str = AS_SET,
        shuffle: bool = AS_SET,
        optimizer: str | Optimizer = AS_SET,
        schedule: str | Schedule = AS_SET,
        loss: str | Loss | None = AS_SET,
        label_smoothing: float = AS_SET,
        class_weight: ClassWeight = AS_SET,
        standardize: str = AS_SET,
        augment: str | Augmentation | None = AS_SET,
        checkpoint: PathLike | None = None,
        resume: PathLike | None = None,
        on_epoch: Callable[[EpochRecord], object] | None = None,
    ) -> History:
        """Train on rows x (rows, n_in) and labels or targets y; returns the history.

        The arguments are those of `NeuralNetworkModel.fit`; what is not given is the parameter of the same name.
        Raises what `NeuralNetworkModel.fit` raises.
        """
        given = {
            "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate,
            "validation_share": validation_share, "patience": patience, "min_delta": min_delta, "monitor": monitor,
            "shuffle": shuffle, "optimizer": optimizer,
            "schedule": schedule, "loss": loss, "label_smoothing": label_smoothing, "class_weight": class_weight,
            "standardize": standardize, "augment": augment,
        }  # fmt: skip
        options = TrainingOptions.of(**self._settings(given), checkpoint=checkpoint, resume=resume, on_epoch=on_epoch)
        goes_on = check_flag("warm_start", self.warm_start) and self._has_learned
        x, schema = self._learn_columns(x, known=goes_on)
        classes, indices = self._learn_classes(as_truth(y), known=goes_on)
        if validation_data is not None:
            held, truth = pair_of(validation_data)
            validation_data = _array_of(held, schema, "validation x"), self._to_indices(truth, classes)
        options = replace(options, class_weight=_by_index(options.class_weight, classes))
        if not goes_on:
            self.reset()
        self._note(classes, schema)
        self._keep_history(self._train(x, indices, validation_data, options, sample_weight))
        return self.history_

    def partial_fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> NeuralNetwork:
        """Train for one epoch on rows x (rows, n_in), from the present weights and the optimizer's present state on.

        classes: all labels that will ever come, needed in the first call where y does not hold them all. The
        standardization, and the units of targets, are those of the first call's rows: a DataWarning says if these are
        too few, or of one class. The learning rate is that of a schedule's first epoch.
        `history_` grows by a record. Raises what `fit` raises.
        """
        goes_on = self._has_learned
        x, schema = self._learn_columns(x, known=goes_on)
        known, indices = self._learn_classes(as_truth(y), known=goes_on, classes=classes)
        options = TrainingOptions.of(
            **self._settings({"epochs": 1, "patience": None, "validation_share": 0.0}), **ONE_RUN
        )
        options = replace(options, class_weight=_by_index(options.class_weight, known))
        self._doubt_first_rows(indices, options.standardize)
        self._note(known, schema)
        history = self._train(x, indices, None, options, sample_weight, goes_on=goes_on)
        self._keep_history(history, getattr(self, "history_", None))
        return self

    def _doubt_first_rows(self, y: Array, standardize: str) -> None:
        """Warn where the scales of all later rows would be learned from rows that cannot tell them."""
        if standardize == "none" or not self._is_fresh or not len(y):
            return
        is_one_class = y.ndim == 1 and self._takes_labels and bool((y == y[0]).all())
        if len(y) < _FEWEST_FIRST or is_one_class:
            found = f"{len(y):,} row{'s' * (len(y) > 1)}{' of one class' * is_one_class}"
            warnings.warn(
                f"the first call of partial_fit has {found}, and the standardization of all later rows is that of "
                f"these; begin with {_FEWEST_FIRST} rows or more that are like the rest, or set standardize='none'",
                DataWarning,
                stacklevel=3,
            )

    def _settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Each setting of a run: as it is given, or as the parameter says."""
        values = {name: getattr(self, name) for name in _FIT_SETTINGS}
        return values | {name: value for name, value in given.items() if value is not AS_SET}

    def _note(self, classes: Array, schema: Schema | None) -> None:
        self.n_features_in_, self.classes_ = self.n_in, classes
        self._keep_schema(schema)

    def _keep_schema(self, schema: Schema | None) -> None:
        """Keep what the columns of a frame mean."""
        self._schema = schema
        if schema is not None:
            self.feature_names_in_ = np.array(schema.feature_names, object)

    def _learn_columns(self, x: ArrayLike, *, known: bool) -> tuple[ArrayLike, Schema | None]:
        """The rows as an array, and what their columns mean: as before where the network goes on."""
        schema = self._schema if known else None
        rows = _array_of(x, schema, "x")
        return rows, schema or schema_of(frame_names(x, "x"))

    def _standardized(self, x: ArrayLike, what: str = "x") -> Array:
        """As in `NeuralNetworkModel`; the columns of a frame by the names that `fit` saw, in whatever order."""
        return super()._standardized(_array_of(x, self._schema, what), what)

    def _keep_history(self, history: History, before: History | None = None) -> None:
        """Keep what a run has recorded. before: of the run that it went on from."""
        self.history_: History = history if before is None else before.followed_by(history)
        self.n_iter_, self.loss_curve_ = len(self.history_.records), self.history_.loss

    # use

    def predict(self, x: ArrayLike) -> Array:
        """Labels (rows,) as `fit` was given them, or outputs (rows, n_out); those of one output are (rows,)."""
        self._require_learned("predict")
        result = super().predict(x)
        if self.is_classifier:
            return self.classes_[result] if hasattr(self, "classes_") else result
        return result[:, 0] if self.n_out == 1 else result

    def predict_proba(self, x: ArrayLike) -> Array:
        """The probability of each class, (rows, classes), in the order of `classes_`. For classifiers only."""
        if self.final_activation.name not in ("softmax", "sigmoid"):
            raise ConfigurationError(
                f"predict_proba needs softmax or sigmoid as the last activation, found {self.final_activation.name}"
            )
        self._require_learned("predict_proba")
        outputs = self.forward(x)
        return np.column_stack([1 - outputs, outputs]) if self.n_out == 1 else outputs

    def evaluate(self, x: ArrayLike, y: ArrayLike, *, loss: str | Loss | None = None) -> Evaluation:
        """Loss (without the L2 penalty) and metric over rows, with `infer_precision`."""
        truth = self._to_indices(y, getattr(self, "classes_", None))
        return super().evaluate(x, truth, loss=self.loss if loss is None else loss)

    def score(self, x: ArrayLike, y: ArrayLike) -> float:
        """Accuracy for a classifier; else R^2, the mean over the outputs (1 is perfect, 0 as good as the mean)."""
        truth, predicted = as_truth(y), self.predict(x)
        if len(predicted) != len(truth):
            raise InputError(f"y has {len(truth)} rows, expected {len(predicted)}, one for each row of x")
        if self.is_classifier:
            truth = truth.argmax(axis=1) if truth.ndim == 2 and truth.shape[1] > 1 else truth.reshape(-1)
            return float(np.mean(predicted == truth))
        return value_scores(truth.reshape(predicted.shape), predicted).r2

    def to_model(
        self,
        class_names: Sequence[str] | None = None,
        metadata: Mapping[str, str] | None = None,
        dataset: Dataset | None = None,
    ) -> Model:
        """As `NeuralNetworkModel.to_model`; labels other than 0..n_out-1 name the classes where nothing else does.

        dataset: what `fit` was given x and y of. Its class names, and what its columns mean, go with the model. Without
        it the names of a frame's columns do (`metadata["schema"]`). Engines and commands read frames and files by them.
        Raises ConfigurationError for a dataset of another width.
        """
        schema = self._schema if dataset is None else schema_in(dataset, self.n_in)
        if class_names is None and dataset is not None and dataset.class_names:
            class_names = dataset.class_names
        names = checked_class_names(self.class_names if class_names is None else class_names)
        classes = getattr(self, "classes_", np.arange(0))
        is_counted = classes.dtype.kind in "fiu" and np.array_equal(classes, np.arange(self.n_out))
        if not len(names) and len(classes) == self.n_out and not is_counted:
            names = tuple(label_names(classes))
        return super().to_model(names, with_schema(metadata, schema))

    def _take_weights(self, model: Model, path: PathLike) -> None:
        """As one that has learned what the file says, its columns too; `classes_` stay if they are called alike."""
        super()._take_weights(model, path)
        classes = getattr(self, "classes_", np.arange(0))
        self._forget()
        self._was_loaded = True
        self._keep_schema(Schema.of(model))
        if len(classes) and label_names(classes) == list(self.class_names):
            self.classes_ = classes

    # scikit-learn's conventions

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters of `__init__` and their values."""
        return {
            name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if name != "self"
        }

    def set_params(self, **params: Any) -> NeuralNetwork:
        """Change parameters; what was learned stays, and the next `fit` goes by them.

        Those that decide how the network is built (sizes, activations, dropout, ...) build it anew. Raises
        ConfigurationError for them once the network has learned, and for unknown names.
        """
        known = self.get_params()
        for name in params:
            if name not in known:
                raise ConfigurationError(f"parameter {name!r} is not known, expected one of {', '.join(known)}")
        changed = {name: value for name, value in params.items() if value is not known[name]}
        rebuilt = [name for name in changed if name in OF_THE_BUILD]
        if rebuilt and self._has_learned:
            raise ConfigurationError(
                f"{rebuilt[0]} decides how the network is built, and this one has learned; set it before fit, "
                "call reset() first, or make another network"
            )
        for name, value in changed.items():
            setattr(self, name, value)
        if rebuilt:
            self._build()
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return self._has_learned

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

    def _learn_classes(self, y: Array, *, known: bool = False, classes: ArrayLike | None = None) -> tuple[Array, Array]:
        """The classes (n_out,), and the labels as indices into them (other targets as they are).

        known: the network goes on learning, and its outputs stand for `classes_`. classes: stated by the caller.
        """
        count = max(self.n_out, 2)
        if known and hasattr(self, "classes_"):
            return self.classes_, self._to_indices(y, self.classes_)
        stated = y if classes is None else as_truth(classes, "classes")
        numbered = np.arange(count)
        if y.ndim != 1 or not self._takes_labels or len(y) == 0 or _are_indices(stated, count):
            return numbered, y
        if y.dtype.kind == "f" and self.n_out == 1:
            return numbered, y  # probabilities as targets
        values = np.unique(stated)
        if len(values) != count:
            some = ", ".join(str(value) for value in values[:5])
            raise InputError(
                f"{'y holds' if classes is None else 'classes names'} {len(values)} different labels "
                f"({some}{', ...' if len(values) > 5 else ''}), expected {count} "
                f"or whole numbers from 0 to {count - 1}"
            )
        return values, self._to_indices(y, values)

    def _to_indices(self, y: ArrayLike, classes: Array | None) -> Array:
        """Labels as indices into `classes`; targets as they are."""
        array = as_truth(y)
        if classes is None or array.ndim != 1 or not self._takes_labels:
            return array
        is_number, wants_number = array.dtype.kind in "fiub", classes.dtype.kind in "fiub"
        if is_number and wants_number and np.array_equal(classes, np.arange(len(classes))):
            return array
        if is_number != wants_number:
            raise InputError(f"y holds {array.dtype} labels, expected some of {', '.join(map(str, classes))}")
        return class_indices(array, classes)


def _array_of(x: ArrayLike, schema: Schema | None, what: str) -> ArrayLike:
    """A frame as an array: as the schema reads it, or all columns without one; what is no frame as it is."""
    if not is_frame(x):
        return x
    return frame_numbers(x, what) if schema is None else frame_inputs(schema, x, what)


def schema_of(names: Sequence[str]) -> Schema | None:
    """What says that columns of these names are read, as numbers; None without names."""
    return Schema(tuple(map(Column, names))) if len(names) else None


def schema_in(dataset: Dataset, n_in: int) -> Schema | None:
    """What the columns of a dataset mean, None for arrays. Raises ConfigurationError if it is not n_in wide."""
    CHECKS.instance("dataset", dataset, Dataset, "what load_dataset gives, or a part of it")
    if dataset.n_in != n_in:
        raise ConfigurationError(
            f"dataset has {dataset.n_in:,} columns, the network takes {n_in:,}; give the one that it was trained on"
        )
    return dataset.schema


def with_schema(metadata: Mapping[str, str] | None, schema: Schema | None) -> dict[str, str]:
    """Metadata of a model that reads its columns by a schema; with one that they hold already, or without any."""
    described = {} if schema is None else {KEY: schema.text()}
    stated = {} if metadata is None else CHECKS.mapping("metadata", metadata, "a mapping of texts to texts")
    return described | stated


def label_names(classes: Array) -> list[str]:
    """Labels as text; whole numbers without a point, as a table says them."""
    return [str(int(label) if isinstance(label, float) and label.is_integer() else label) for label in classes.tolist()]


def _by_index(weight: ClassWeight, classes: Array) -> ClassWeight:
    """{label: number} as {index: number}; other weights as they are. Raises ConfigurationError for an unknown label."""
    if not isinstance(weight, Mapping):
        return weight
    places = {label: index for index, label in enumerate(classes.tolist())}
    labels = [label.item() if isinstance(label, np.generic) else label for label in weight]
    for label in labels:
        if label not in places:
            raise ConfigurationError(
                f"class_weight names class {shown(label)}, expected labels of {', '.join(map(str, classes[:9]))}"
                f"{', ...' if len(classes) > 9 else ''}; those that are left out weigh 1"
            )
    return {places[label]: number for label, number in zip(labels, weight.values(), strict=True)}


def _are_indices(y: Array, count: int) -> bool:
    """Whether these are whole numbers from 0 to count - 1."""
    if y.size == 0 or y.dtype.kind not in "fiub" or not np.isfinite(y).all():
        return False
    return bool(y.min() >= 0 and y.max() < count and np.array_equal(y, np.rint(y)))
