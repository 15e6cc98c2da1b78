"""Networks for scikit-learn's users: both ends come from the data, everything else is scikit-learn's contract.

    DenseClassifier(hidden=(32,)).fit(x, y).score(x, y)
    GridSearchCV(DenseRegressor(), {"hidden": [(16,), (32, 16)]}).fit(x, y)

Needs the extra `sklearn`. What `smallnet` and `NeuralNetwork` use where nothing is said is used here too.
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime import Model
from edge_runtime.array_types import Array
from edge_runtime.numerics import frame_numbers, is_frame
from trainer.config import CHECKS, DEFAULT_CONFIG, PrecisionConfig, check_flag
from trainer.data import Dataset, class_indices
from trainer.errors import ConfigurationError
from trainer.fitting import Defaults
from trainer.history import History
from trainer.student import OF_THE_BUILD, NeuralNetwork, label_names, schema_of, with_schema

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state, column_or_1d
    from sklearn.utils.class_weight import compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted
    from threadpoolctl import ThreadpoolController
except ImportError as error:
    raise ImportError(
        f"DenseClassifier and DenseRegressor need scikit-learn 1.4 or newer ({error}); "
        "install: pip install 'smallnet[sklearn]'"
    ) from error
try:
    from sklearn.utils.validation import validate_data
except ImportError:  # before scikit-learn 1.6

    def validate_data(estimator: Any, *arrays: Any, **checks: Any) -> Any:  # noqa: D103
        return estimator._validate_data(*arrays, **checks)


_MADE = {name: parameter.default for name, parameter in inspect.signature(NeuralNetwork.__init__).parameters.items()}
_OF_THE_NETWORK = ("activation", "dropout_rate", "batch_norm", "init", "train_dtype", "random_state")  # besides hidden
_FLOATS = (np.float64, np.float32)


Method = TypeVar("Method", bound=Callable[..., Any])


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _in_one_thread(method: Method) -> Method:
    """BLAS in one thread: small networks are the fastest so, and n_jobs=2, which divides threads, changes no bit."""

    @functools.wraps(method)
    def limited(*arguments: Any, **settings: Any) -> Any:
        with _libraries().limit(limits=1, user_api="blas"):
            return method(*arguments, **settings)

    return limited  # type: ignore[return-value]


class _DenseEstimator(BaseEstimator):
    """What both have in common. The subclasses' parameters are attributes, as scikit-learn has it."""

    _last: str
    _hands_on: tuple[str, ...] = (
        "l2_lambda", "dropout_rate", "batch_norm", "init", "epochs", "batch_size", "learning_rate",
        "validation_share", "patience", "min_delta", "monitor", "shuffle", "optimizer", "schedule", "loss",
        "standardize", "augment",
    )  # fmt: skip

    def __init__(
        self,
        hidden: Sequence[int] = Defaults.hidden,
        activation: str = Defaults.activation,
        *,
        l2_lambda: float = _MADE["l2_lambda"],
        dropout_rate: float = _MADE["dropout_rate"],
        batch_norm: bool = _MADE["batch_norm"],
        init: str = _MADE["init"],
        epochs: int = _MADE["epochs"],
        batch_size: int | None = _MADE["batch_size"],
        learning_rate: float | None = _MADE["learning_rate"],
        validation_share: float = _MADE["validation_share"],
        patience: int | None = _MADE["patience"],
        min_delta: float = _MADE["min_delta"],
        monitor: str = _MADE["monitor"],
        shuffle: bool = _MADE["shuffle"],
        optimizer: Any = _MADE["optimizer"],
        schedule: Any = _MADE["schedule"],
        loss: Any = _MADE["loss"],
        standardize: str = _MADE["standardize"],
        augment: Any = _MADE["augment"],
        train_dtype: str = DEFAULT_CONFIG.train_dtype,
        warm_start: bool = _MADE["warm_start"],
        random_state: Any = DEFAULT_CONFIG.seed,
    ) -> None:
        self.hidden, self.activation = hidden, activation
        self.l2_lambda, self.dropout_rate, self.batch_norm, self.init = l2_lambda, dropout_rate, batch_norm, init
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.validation_share, self.patience, self.min_delta = validation_share, patience, min_delta
        self.monitor, self.shuffle = monitor, shuffle
        self.optimizer, self.schedule, self.loss = optimizer, schedule, loss
        self.standardize, self.augment, self.train_dtype = standardize, augment, train_dtype
        self.warm_start, self.random_state = warm_start, random_state

    @_in_one_thread
    def _outputs(self, x: ArrayLike) -> NDArray[np.float64]:
        """The network's outputs (rows, n_out), in float64: a row's answer does not hang on the rows beside it."""
        check_is_fitted(self)
        rows = self._validated(x, reset=False).astype(np.float64, copy=False)
        model = self.network_.to_model()
        if model.preprocessing is not None:
            rows = model.preprocessing(rows)
        for layer in model.layers:
            rows = layer.activation(rows @ layer.weight.astype(np.float64) + layer.bias)
        return rows

    def _validated(self, x: ArrayLike, *y: ArrayLike, **checks: Any) -> Any:
        """As scikit-learn's checks give rows, and labels or targets; what is wrong with a frame is said by column."""
        try:
            return validate_data(self, x, *y, dtype=_FLOATS, **checks)
        except (TypeError, ValueError):
            if is_frame(x):
                frame_numbers(x, "X")
            raise

    def _network(self, n_out: int, **more: Any) -> NeuralNetwork:
        """A network for the data that were checked, untrained."""
        widths = CHECKS.items("hidden", self.hidden, "widths such as (32,), or () for none", is_kept=True)
        settings = {name: getattr(self, name) for name in self._hands_on}
        self._built = {name: getattr(self, name) for name in _OF_THE_NETWORK}
        return NeuralNetwork(
            [self.n_features_in_, *widths, n_out],
            [self.activation] * len(widths) + [self._last],
            precision_config=PrecisionConfig(seed=self._seed(), train_dtype=self.train_dtype),
            warm_start=True,  # one network, one fit; what goes on is decided here
            **settings,
            **more,
        )

    def _update(self) -> None:
        """Hand on what was set since the network was made. Raises ConfigurationError for what would make another."""
        sizes = [self.n_features_in_, *self.hidden, self.network_.n_out]
        if sizes != list(self.network_.layer_sizes):
            raise ConfigurationError(
                f"hidden is {self.hidden!r:.80}, the network that has learned is {self.network_.layout}; "
                "it cannot go on with other widths: fit with warm_start=False"
            )
        for name, built in self._built.items():
            if (found := getattr(self, name)) is not built and found != built:
                raise ConfigurationError(
                    f"{name} is {found!r:.80}, the network that has learned was made with {built!r:.80}; "
                    "it cannot go on with another: fit with warm_start=False"
                )
        later = [name for name in self._hands_on if name not in OF_THE_BUILD]
        self.network_.set_params(**{name: getattr(self, name) for name in later})

    def _seed(self) -> int:
        """A whole number is the network's own seed; a generator, or None for scikit-learn's, is drawn from."""
        if isinstance(self.random_state, numbers.Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _keep(self) -> None:
        self.history_: History = self.network_.history_
        self.n_iter_, self.loss_curve_ = self.network_.n_iter_, self.network_.loss_curve_

    def to_model(
        self,
        class_names: Sequence[str] | None = None,
        metadata: Mapping[str, str] | None = None,
        dataset: Dataset | None = None,
    ) -> Model:
        """The trained network as a float32 `edge_runtime.Model`, for `quantize`, `save` and `write_onnx`.

        dataset: what `fit` was given x and y of; see `NeuralNetwork.to_model`.
        """
        check_is_fitted(self)
        schema = schema_of(getattr(self, "feature_names_in_", ())) if dataset is None else None
        return self.network_.to_model(class_names, with_schema(metadata, schema), dataset)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "history_")


def _joined(shared: Callable[..., Any], further: Callable[..., Any]) -> inspect.Signature:
    """The parameters of both, which scikit-learn reads off: those shared, then those that `further` names."""
    first = inspect.signature(shared)
    named = [each for each in inspect.signature(further).parameters.values() if each.kind is each.KEYWORD_ONLY]
    return first.replace(parameters=[*first.parameters.values(), *named])


class DenseClassifier(ClassifierMixin, _DenseEstimator):
    """A dense network that tells classes apart, with scikit-learn's contract.

    hidden: widths of the hidden layers, () for none. activation: of them. train_dtype: "float32" or "float64".
    class_weight: {label: number} or "balanced". warm_start: `fit` goes on from what was learned, for the same classes.
    random_state: a whole number is `PrecisionConfig.seed`; None draws another network each time. The other parameters
    are those of `NeuralNetwork`, with its defaults.

    After `fit`: `classes_`, `n_features_in_`, `feature_names_in_` (if columns have names), `n_iter_` (epochs),
    `loss_curve_`, `history_`, and `network_`, the `NeuralNetwork`. Errors are scikit-learn's, or ConfigurationError
    (a ValueError) for parameters and TrainingDiverged.
    """

    _last = "softmax"
    _hands_on = (*_DenseEstimator._hands_on, "label_smoothing")

    def __init__(
        self,
        *shared: Any,
        label_smoothing: float = _MADE["label_smoothing"],
        class_weight: Any = _MADE["class_weight"],
        **more: Any,
    ) -> None:
        super().__init__(*shared, **more)
        self.label_smoothing, self.class_weight = label_smoothing, class_weight

    __init__.__signature__ = _joined(_DenseEstimator.__init__, __init__)  # type: ignore[attr-defined]

    @_in_one_thread
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> DenseClassifier:  # noqa: N803
        """Train on rows X (rows, features) and labels y (rows,), from fresh weights unless `warm_start`."""
        goes_on = check_flag("warm_start", self.warm_start) and hasattr(self, "network_")
        x, labels = self._checked(X, y, reset=not goes_on)
        if not goes_on:
            self._start(np.unique(labels))
        indices, weights = class_indices(labels, self.classes_), None
        if self.class_weight is not None:
            weights = compute_class_weight(self.class_weight, classes=self.classes_, y=labels).tolist()
        self._update()
        self.network_.fit(x, indices, sample_weight=sample_weight, class_weight=weights)
        self._keep()
        return self

    @_in_one_thread
    def partial_fit(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> DenseClassifier:
        """Train for one epoch from the present weights on. classes: all labels that will come, in the first call."""
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight is {self.class_weight!r}, which partial_fit cannot know before it has seen all rows; "
                "give {label: number}"
            )
        is_first = not hasattr(self, "network_")
        if is_first and classes is None:
            raise ValueError("the first call of partial_fit needs classes: all labels that will come")
        x, labels = self._checked(X, y, reset=is_first)
        if is_first:
            self._start(np.unique(np.asarray(classes)))
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise ValueError(f"classes are {classes!r:.80}, the first call had {self.classes_!r:.80}")
        self._update()
        if self.class_weight is not None:
            weights = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)
            self.network_.set_params(class_weight=weights.tolist())
        numbered = np.arange(len(self.classes_))
        self.network_.partial_fit(x, class_indices(labels, self.classes_), numbered, sample_weight)
        self._keep()
        return self

    def predict(self, X: ArrayLike) -> Array:  # noqa: N803
        """The label of each row, (rows,), of `classes_`."""
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(axis=1)]

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """The probability of each class, float64 (rows, classes), in the order of `classes_`."""
        return self._outputs(X)

    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """The logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self._outputs(X))

    def _checked(self, x: ArrayLike, y: ArrayLike, *, reset: bool) -> tuple[Array, Array]:
        rows, labels = self._validated(x, y, reset=reset)
        labels = column_or_1d(labels, warn=True)
        check_classification_targets(labels)
        return rows, labels

    def _start(self, classes: Array) -> None:
        if len(classes) < 2:
            raise ValueError(f"y holds one class only ({classes[0]}), expected at least 2 classes")
        self.classes_ = classes
        self.network_ = self._network(len(classes), class_names=label_names(classes))


class DenseRegressor(RegressorMixin, _DenseEstimator):
    """A dense network that gives numbers, one or several a row, with scikit-learn's contract.

    Parameters and attributes are those of `DenseClassifier`, without those that speak of classes.
    """

    _last = "linear"

    @_in_one_thread
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> DenseRegressor:  # noqa: N803
        """Train on rows X (rows, features) and targets y, (rows,) or (rows, targets); fresh unless `warm_start`."""
        x, targets = self._started(X, y, goes_on=check_flag("warm_start", self.warm_start))
        self._update()
        self.network_.fit(x, targets, sample_weight=sample_weight)
        self._keep()
        return self

    @_in_one_thread
    def partial_fit(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> DenseRegressor:
        """Train for one epoch from the present weights on."""
        x, targets = self._started(X, y, goes_on=True)
        self._update()
        self.network_.partial_fit(x, targets, sample_weight=sample_weight)
        self._keep()
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """What the network gives, float64, of the shape that the targets had."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._is_flat else outputs

    def _started(self, x: ArrayLike, y: ArrayLike, *, goes_on: bool) -> tuple[Array, Array]:
        goes_on = goes_on and hasattr(self, "network_")
        rows, targets = self._validated(x, y, reset=not goes_on, multi_output=True, y_numeric=True)
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = column_or_1d(targets, warn=True)
        count = 1 if targets.ndim == 1 else targets.shape[1]
        if not goes_on:
            self.network_, self._is_flat = self._network(count), targets.ndim == 1
        elif count != self.network_.n_out:
            raise ValueError(f"y has {count} targets a row, expected {self.network_.n_out} as before")
        return rows, targets

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _more_tags(self) -> dict[str, Any]:  # before scikit-learn 1.6
        return {"multioutput": True}
