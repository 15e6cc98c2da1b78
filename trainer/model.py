"""The network: builds its layers from one seeded generator, runs them forward and backward, trains, saves and loads."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edge_runtime import Dense, Model, ModelError, Standardization, load, save
from edge_runtime.arguments import shown
from edge_runtime.array_types import Array
from edge_runtime.files import PathLike, shortened
from edge_runtime.numerics import Activation, as_numbers
from edge_runtime.version import made_with
from trainer.config import (
    CHECKS,
    DEFAULT_CONFIG,
    SIMULATED_PRECISIONS,
    PrecisionConfig,
    check_flag,
    check_number,
    check_whole,
)
from trainer.data import (
    Augmentation,
    ClassWeight,
    TargetUnits,
    check_images,
    checked_rows,
    coarse_targets,
    dominated_columns,
    encode_targets,
    learn_standardization,
    merged_columns,
    regression_targets,
    weighted_rows,
)
from trainer.errors import ConfigurationError, DataWarning, TrainingDiverged, TrainingStopped
from trainer.fitting import (
    Batch,
    Defaults,
    Profile,
    ProfiledChain,
    Rows,
    Throttle,
    TrainingOptions,
    TrainingRun,
    check_gradients,
    describe_run,
    fit_to_hardware,
    owned_bytes,
    pair_of,
    with_share_apart,
)
from trainer.history import EpochRecord, History
from trainer.layers import DenseLayer
from trainer.losses import Loss, choose_loss
from trainer.network import (
    LAYER_TYPES,
    Block,
    FlatParameters,
    LayerChain,
    LoweredDense,
    checked_between,
    checked_layout,
    describe_layout,
    lower_weights,
)
from trainer.optimizers import Optimizer
from trainer.schedules import Schedule

_CHUNK = 1024  # rows of a forward pass outside of training that are held at once


def checked_class_names(names: Any) -> tuple[str, ...]:
    """Names of classes as a tuple of texts. Raises ConfigurationError; how many fit is for the model to say."""
    found = CHECKS.items("class_names", names, "a list of texts, () for none", is_kept=True)
    for name in found:
        if not isinstance(name, str):
            raise CHECKS.refusal("a class name", name, "a text")
    return found


@dataclass(frozen=True)
class Evaluation:
    """Loss and metric over rows; metric_name is "accuracy" or "mean_absolute_error"."""

    loss: float
    metric: float
    metric_name: str


class NeuralNetworkModel:
    """A feed-forward network of dense layers, trained with NumPy.

    layer_sizes: (n_in, hidden..., n_out). activations: one name (or `Activation`) for each layer after the input.
    l2_lambda: adds l2_lambda / 2 * sum(w^2) over the weights to the loss (with "adamw": decoupled decay).
    dropout_rate: share of each hidden layer's outputs that is set to 0 in training, the others divided by 1 - rate.
    precision_config: dtype, seed, precision, simulated hardware. init: "xavier" or "he".
    batch_norm: a BatchNorm before each hidden activation; `between` names any types of `LAYER_TYPES` to put there.
    Raises ValueError (ConfigurationError) for fewer than two sizes or another number of activations.

    After a training forward pass `a_values` holds the input and each layer's outputs, `a_raw_values` the outputs before
    dropout, `dropout_masks` the factors (None where there is no dropout). `layers` are the dense layers.
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        activations: Sequence[str | Activation],
        l2_lambda: float = Defaults.l2,
        dropout_rate: float = Defaults.dropout,
        precision_config: PrecisionConfig | None = None,
        *,
        batch_norm: bool = False,
        between: Sequence[str] = (),
        init: str = "xavier",
    ) -> None:
        self.layer_sizes, self.activations = layer_sizes, activations
        self.l2_lambda, self.dropout_rate, self.precision_config = l2_lambda, dropout_rate, precision_config
        self.batch_norm, self.between, self.init = batch_norm, between, init
        self.class_names: Sequence[str] = ()
        self._build()

    def _build(self) -> None:
        """Make layers, parameters and generator from the settings."""
        CHECKS.instance("precision_config", self.precision_config, PrecisionConfig, "PrecisionConfig(seed=...)")
        self.config = self.precision_config or DEFAULT_CONFIG
        sizes, activations = checked_layout(self.layer_sizes, self.activations)
        check_number("l2_lambda", self.l2_lambda, low=0.0)
        check_number("dropout_rate", self.dropout_rate, low=0.0, below=1.0)
        names = checked_between(self.between, self.batch_norm)
        self.n_in, self.n_out, self.final_activation = sizes[0], sizes[-1], activations[-1]
        self.rng = np.random.Generator(np.random.PCG64(self.config.seed))
        self.layers: list[DenseLayer] = []
        blocks = []
        for position, activation in enumerate(activations):
            is_hidden = position < len(activations) - 1
            dense = DenseLayer(sizes[position], sizes[position + 1], self.rng, self.config.dtype, self.init)
            extras = tuple(LAYER_TYPES[name](dense.n_out, self.config.dtype) for name in names) if is_hidden else ()
            rate = float(self.dropout_rate) if is_hidden else 0.0
            mode, clip = self.config.precision_mode, self.config.int8_clip_value
            blocks.append(Block(dense, activation, extras, rate, mode, clip))
            self.layers.append(dense)
        self.chain = (ProfiledChain if self.config.enable_profiling else LayerChain)(tuple(blocks))
        self.parameters = FlatParameters([x for b in blocks for x in (b.dense, *b.between)], self.config.dtype)
        self.preprocessing: Standardization | None = None
        self.target_units: TargetUnits | None = None
        self._input: Array | None = None
        self._learned_labels, self._is_fresh = False, True
        self._optimizer_state: tuple[list[Array], int] | None = None

    def __repr__(self) -> str:
        """Its sizes and activations, in one line."""
        sizes, names = str(list(self.layer_sizes)), str([str(name) for name in self.activations])
        return f"{type(self).__name__}({shortened(sizes, 60)}, {shortened(names, 60)})"

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles keep: everything but the tensors of the last training pass."""
        return {**vars(self), "_input": None}

    def __copy__(self) -> NeuralNetworkModel:
        """A network owns its weights, so that training a copy leaves the original alone."""
        return copy.deepcopy(self)

    # what it holds

    @property
    def weights(self) -> list[Array]:
        """The weights (n_in, n_out) of each layer; writing into them changes the network."""
        return [layer.weights for layer in self.layers]

    @property
    def biases(self) -> list[Array]:
        """The bias (n_out,) of each layer; writing into them changes the network."""
        return [layer.bias for layer in self.layers]

    @property
    def weight_gradients(self) -> list[Array]:
        """The gradients by the weights, of the last `backprop`."""
        return [layer.grad_weights for layer in self.layers]

    @property
    def bias_gradients(self) -> list[Array]:
        """The gradients by the biases, of the last `backprop`."""
        return [layer.grad_bias for layer in self.layers]

    @property
    def a_values(self) -> list[Array]:
        """Standardized input and every layer's outputs after dropout; they live until the next training pass."""
        return [] if self._input is None else [self._input, *(block.a for block in self.chain.blocks)]

    @property
    def a_raw_values(self) -> list[Array]:
        """Every layer's outputs before dropout, of the last training pass."""
        return [] if self._input is None else [block.raw for block in self.chain.blocks]

    @property
    def dropout_masks(self) -> list[Array | None]:
        """The factors 0 or 1 / (1 - rate) of every layer, None where there is no dropout, of the last training pass."""
        return [] if self._input is None else [block.mask for block in self.chain.blocks]

    @property
    def layout(self) -> str:
        """Sizes and activations as text: "64-32-10 (relu, softmax)"."""
        return describe_layout(tuple(self.layer_sizes), [block.activation for block in self.chain.blocks])

    @property
    def is_classifier(self) -> bool:
        """Whether `predict` gives classes: softmax, one sigmoid output, or a network that was trained on labels."""
        name = self.final_activation.name
        return name == "softmax" or (name == "sigmoid" and self.n_out == 1) or self._learned_labels

    def set_seed(self, seed: int) -> None:
        """Start the generator anew: the order of rows and dropout from here on. Weights stay as they are."""
        self.rng = np.random.Generator(np.random.PCG64(check_whole("seed", seed, 0)))

    def reset(self) -> None:
        """Draw fresh weights from the configured seed and forget what was learned: the network as it was made."""
        self.set_seed(self.config.seed)
        for layer in (x for block in self.chain.blocks for x in (block.dense, *block.between)):
            layer.reset(self.rng)
        self.preprocessing, self.target_units, self._optimizer_state = None, None, None
        self._learned_labels, self._is_fresh = False, True

    # passes

    def forward(self, x: ArrayLike, training: bool = False, precision: str | None = None) -> Array:
        """The outputs (rows, n_out) for raw rows x (rows, n_in) or (n_in,), in the training dtype and real units.

        training: with dropout and batch statistics, keeping the intermediate tensors. precision: "float32", "float16"
        or "int8" instead of the configured `infer_precision`; not for training.
        Raises InputError, ConfigurationError.
        """
        rows = self._standardized(x)
        if check_flag("training", training):
            if precision is not None:
                raise ConfigurationError(
                    f"precision is {shown(precision)} for a training pass, expected None; see precision_mode"
                )
            self._input = rows
            self.chain.resize(len(rows))
            outputs = self.chain.forward(rows, self.rng)
            return outputs.copy() if self.target_units is None else self.target_units.real(outputs)
        precision = self.config.infer_precision if precision is None else precision
        CHECKS.choice("precision", precision, SIMULATED_PRECISIONS)
        lowered = self._lowered(precision)
        throttle = Throttle(self.config.speed_factor)
        result = np.empty((len(rows), self.n_out), rows.dtype)
        chunk = min(_CHUNK, self.config.max_rows or _CHUNK)
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            for dense, block in zip(lowered, self.chain.blocks, strict=True):
                part = block.activation(dense.forward(block.dense, part))
            result[start : start + chunk] = part
        throttle.catch_up(is_last=True)
        return result

    def _folded(self) -> list[tuple[Array, Array]]:
        """Weights and bias of each dense layer as it is used: layers between, and the targets' units, folded in."""
        folded = [block.folded() for block in self.chain.blocks]
        if self.target_units is not None:
            folded[-1] = self.target_units.fold(*folded[-1])
        return folded

    def _lowered(self, precision: str) -> list[LoweredDense]:
        """The layers as `precision` computes them."""
        clip = self.config.int8_clip_value
        lowered = [LoweredDense(*pair, precision, clip) for pair in self._folded()]
        if precision == "float16" and self.target_units is not None:  # in real units they may be beyond its range
            weights, bias = self.chain.blocks[-1].folded()
            lowered[-1] = LoweredDense(*self.target_units.fold(lower_weights(weights, precision, clip), bias))
        return lowered

    def backprop(self, x: ArrayLike, y: ArrayLike, *, loss: str | Loss | None = None) -> float:
        """A training forward pass and the gradients of its loss, without an update; returns the loss with L2 penalty.

        x: raw rows (rows, n_in). y: labels or targets as for `fit`. The gradients, penalty included, are then in
        `weight_gradients` and `bias_gradients`. The loss is in the units of training: see `fit`.
        """
        function = choose_loss(loss, self.final_activation, self.n_out)
        rows = self._rows(x, y, function)
        self._input, targets = rows.x, rows.targets
        self.chain.resize(len(rows))
        outputs = self.chain.forward(rows.x, self.rng)
        total = function.total(outputs, targets.values, None, np.empty_like(outputs), np.empty_like(outputs))
        self.chain.backward(function, targets.values, None, function.per_row(self.n_out) / len(outputs))
        decayed = slice(0, self.parameters.decayed)
        weights = self.parameters.values[decayed]
        self.parameters.gradients[decayed] += weights.dtype.type(self.l2_lambda) * weights
        return total / len(outputs) + 0.5 * self.l2_lambda * float(np.dot(weights, weights))

    def gradient_check(
        self, x: ArrayLike, y: ArrayLike, *, loss: str | Loss | None = None, epsilon: float = 1e-5
    ) -> float:
        """The relative error between backpropagation and central differences, over all parameters, in float64.

        Works on a float64 copy of the network; dropout draws the same masks each time. Below 1e-7 the gradients are
        right, unless a ReLU's kink lies within epsilon. Costs two forward passes a parameter.
        """
        check_number("epsilon", epsilon, above=0.0)
        config = dataclasses.replace(self.config, train_dtype="float64", precision_mode="float32")
        twin = NeuralNetworkModel(
            self.layer_sizes, self.activations, self.l2_lambda, self.dropout_rate, config,
            batch_norm=self.batch_norm, between=self.between, init=self.init,
        )  # fmt: skip
        twin.parameters.restore(self.parameters.snapshot())
        twin.preprocessing, twin.target_units = self.preprocessing, self.target_units
        function = choose_loss(loss, twin.final_activation, twin.n_out)
        rows = twin._rows(x, y, function)
        return check_gradients(twin.chain, twin.parameters, twin.rng, function, self.l2_lambda, rows, epsilon)

    # training

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        epochs: int = Defaults.epochs,
        batch_size: int | None = Defaults.batch_size,
        learning_rate: float | None = None,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
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
        checkpoint: PathLike | None = None,
        resume: PathLike | None = None,
        on_epoch: Callable[[EpochRecord], object] | None = None,
    ) -> History:
        """Train on rows x (rows, n_in) from the present weights on; returns the history.

        y: labels (rows,), one class alone too, or target values (rows, n_out); the array x itself for an autoencoder.
        sample_weight: (rows,), how much each row counts in loss and standardization: 2 like twice, 0 like not at all.
        batch_size: None is 32, or as few as 8 for fewer than 256 rows.
        learning_rate: None is the optimizer's own: 0.1 for "sgd", 0.02 for "momentum", 0.005 for "adam" and "adamw".
        validation_data: (x, y), evaluated after each epoch; then the weights of the epoch with the lowest validation
        loss are kept. validation_share: without validation_data, so large a share of the rows, drawn by the seed, takes
        its place, if it is 10 rows or more, and 3 a class; 0: none. patience: stop after so many epochs whose loss
        (validation, else training) is not more than min_delta better; None: never. monitor: "loss", or "metric" to
        choose and stop by accuracy (regression: the mean absolute error) instead.
        loss: "cross_entropy", "binary_cross_entropy", "mse", "huber"; None chooses by the last activation.
        standardize: "per-feature", "global", "auto" (global for images and the like, see `chosen_standardization`) or
        "none"; learned from x by the first `fit`, stored with the network and kept by those that go on from its
        weights. Unless "none", regression targets of "mse" and "huber" behind a linear last layer are standardized too,
        output by output (an autoencoder's as its inputs are): the losses that are reported are then of standardized
        targets, while metrics, outputs and `evaluate` are in real units.
        augment: images are moved a little at random in each epoch, as an `Augmentation` or a text says:
        "shift=2,rotate=10" (pixels, degrees). Not with "per-feature", nor for an autoencoder.
        checkpoint: a file that is written after each epoch, in one step, and after Ctrl-C. resume: such a file to
        continue from; data, names of classes and settings must be the same, and epochs not fewer than it holds.
        on_epoch: called with each EpochRecord. Raises InputError for data, ConfigurationError for settings,
        TrainingDiverged, BudgetExceeded, CheckpointError; Ctrl-C leaves the best weights so far (TrainingStopped).
        Warns (DataWarning) of columns in which values are lost to float32, or to one that dwarfs them, and of targets
        that float32 answers cannot tell apart.
        """
        options = TrainingOptions.of(
            epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, min_delta=min_delta,
            validation_share=validation_share, patience=patience, monitor=monitor, shuffle=shuffle,
            optimizer=optimizer, schedule=schedule, loss=loss,
            label_smoothing=label_smoothing, class_weight=class_weight, standardize=standardize, augment=augment,
            checkpoint=checkpoint, resume=resume, on_epoch=on_epoch,
        )  # fmt: skip
        return self._train(x, y, validation_data, options, sample_weight)

    def _train(
        self,
        x: ArrayLike,
        y: ArrayLike,
        validation_data: Any,
        options: TrainingOptions,
        sample_weight: ArrayLike | None = None,
        *,
        goes_on: bool | None = None,
    ) -> History:
        """goes_on: keep the optimizer's state for a next call; True takes that of the last one."""
        check_number("l2_lambda", self.l2_lambda, low=0.0)  # attributes may have been set since they were checked
        checked_class_names(self.class_names)
        x, y, weight = weighted_rows(x, y, sample_weight)
        function = choose_loss(options.loss, self.final_activation, self.n_out)
        kept = self.preprocessing, self.target_units
        try:
            self._learn_scales(x, y, function, options.standardize, weight)
            if options.augment is not None:
                check_images(options.augment, x, y, self.preprocessing)
            rows = self._rows(x, y, function, options.label_smoothing, options.class_weight, weight)
            if validation_data is None:
                rows, validation = with_share_apart(rows, options.validation_share, self.config.seed)
            else:
                validation = self._rows(*pair_of(validation_data), function, what="validation ")
            owned = owned_bytes(rows, x)
            if validation is not None:
                owned += owned_bytes(validation, None if validation_data is None else validation_data[0])
            options = options.for_rows(len(rows))
            options, self.memory_ = fit_to_hardware(self, options, rows, validation, owned)
            settings = describe_run(self, options, function, rows, validation)
            with self._in_new_units(kept[1]):
                run = TrainingRun(
                    self.chain, self.parameters, self.rng, options, function, self.l2_lambda, rows, validation,
                    settings, Throttle(self.config.speed_factor),
                )  # fmt: skip
            if goes_on and self._optimizer_state is not None:
                run.slots, run.step = self._optimizer_state
        except BaseException:
            self.preprocessing, self.target_units = kept
            raise
        self._learned_labels = rows.targets.labels is not None
        if isinstance(self.chain, ProfiledChain):
            self.chain.start()
        try:
            history = run.run()
            self._is_fresh = False
            self._optimizer_state = None if goes_on is None else (run.slots, run.step)
            return history
        except TrainingDiverged as error:
            self._is_fresh = self._is_fresh and error.kept_epoch == 0
            raise
        except TrainingStopped as stop:
            self._is_fresh = self._is_fresh and stop.kept_epoch == 0 and options.checkpoint is None
            raise
        finally:
            if isinstance(self.chain, ProfiledChain):
                self.profile_ = self.chain.report()

    def _learn_scales(self, x: ArrayLike, y: ArrayLike, loss: Loss, mode: str, weight: Array | None) -> None:
        """Learn the standardization of inputs and targets from training rows, where the weights do not have one yet."""
        shape = checked_rows(x, self.n_in, np.dtype(np.float32)).shape
        numbers = as_numbers(x)
        numbers = numbers.reshape(shape) if numbers.ndim < 2 else numbers
        if mode != "none" and self._is_fresh:  # weights that have learned stand for the units they saw
            self.preprocessing = learn_standardization(numbers, mode, weight)
            for text in (merged_columns(numbers), dominated_columns(numbers, self.preprocessing)):
                if text is not None:
                    warnings.warn(text, DataWarning, stacklevel=4)
        targets = regression_targets(y, self.n_out, loss) if self._takes_units(loss) else None
        if targets is None:
            self.target_units = None
        elif mode != "none" and (self._is_fresh or self.target_units is None):
            is_global = self.preprocessing is not None and len(self.preprocessing.mean) == 1
            as_one = is_global and np.array_equal(targets, numbers.reshape(len(numbers), -1))
            self.target_units = TargetUnits.of(targets, weight, as_one=as_one)
            if (text := coarse_targets(targets)) is not None and not as_one:
                warnings.warn(text, DataWarning, stacklevel=4)

    def _takes_units(self, loss: Loss) -> bool:
        return loss.takes_units and self.final_activation.name == "linear"

    @contextlib.contextmanager
    def _in_new_units(self, before: TargetUnits | None) -> Iterator[None]:
        """Weights that have learned go on from the same function if the targets' units changed; undone on a failure."""
        last, after = self.layers[-1], self.target_units
        kept = last.weights.copy(), last.bias.copy()
        if not self._is_fresh and before is not after:
            real = kept if before is None else before.fold(*kept)
            last.weights, last.bias = real if after is None else after.unfold(*real)
        try:
            yield
        except BaseException:
            last.weights, last.bias = kept
            raise

    def profile(self, x: ArrayLike, y: ArrayLike, *, repeats: int = 20, loss: str | Loss | None = None) -> Profile:
        """Forward and backward microseconds and bytes of each layer, for the rows given as one batch. Printable.

        Weights, state and generator are as before.
        """
        function = choose_loss(loss, self.final_activation, self.n_out)
        rows = self._rows(x, y, function)
        kept, generator = self.parameters.snapshot(), self.rng.bit_generator.state
        chain = ProfiledChain(self.chain.blocks)
        chain.resize(len(rows))
        for _ in range(check_whole("repeats", repeats, 1)):
            chain.forward(rows.x, self.rng)
            chain.backward(function, rows.targets.values, None, 1.0 / len(rows))
        self.chain.rows = len(rows)
        self.parameters.restore(kept)
        self.rng.bit_generator.state = generator
        return chain.report()

    # use

    def predict(self, x: ArrayLike) -> Array:
        """Class indices, int64 (rows,), for a classifier: the largest output, or output > 0.5 where there is only one.

        Otherwise the outputs (rows, n_out).
        """
        outputs = self.forward(x)
        if not self.is_classifier:
            return outputs
        if self.n_out == 1:
            return (outputs[:, 0] > 0.5).astype(np.int64)
        return outputs.argmax(axis=1).astype(np.int64)

    def evaluate(self, x: ArrayLike, y: ArrayLike, *, loss: str | Loss | None = None) -> Evaluation:
        """Loss (without the L2 penalty) and metric over rows, with `infer_precision`, in the targets' own units."""
        function = choose_loss(loss, self.final_activation, self.n_out)
        outputs = self.forward(x)
        targets = encode_targets(y, len(outputs), self.n_out, function, self.config.dtype)
        batch = Batch(Rows(np.empty((len(outputs), 0), outputs.dtype), targets), len(outputs), gathers=False)
        batch.view(0)
        total, metric = batch.measure(function, outputs)
        return Evaluation(total / len(outputs), metric / len(outputs), targets.metric_name)

    def to_model(self, class_names: Sequence[str] | None = None, metadata: Mapping[str, str] | None = None) -> Model:
        """The network as a float32 `edge_runtime.Model`: layers "dense0", "dense1", ..., those between folded in."""
        names = checked_class_names(self.class_names if class_names is None else class_names)
        stated = {} if metadata is None else CHECKS.mapping("metadata", metadata, "a mapping of texts to texts")
        layers = [
            Dense(f"dense{index}", weights.astype(np.float32), bias.astype(np.float32), block.activation)
            for index, (block, (weights, bias)) in enumerate(zip(self.chain.blocks, self._folded(), strict=True))
        ]
        return Model(tuple(layers), self.preprocessing, names, {**made_with(), **stated})

    def save_weights(self, path: PathLike) -> None:
        """Write `to_model()` as an artifact, which `edge_runtime.load` and the command line read."""
        save(self.to_model(), path)

    def load_weights(self, path: PathLike) -> None:
        """Take weights, preprocessing and class names from a float artifact of the same sizes and activations.

        Layers between dense layers become the identity, because an artifact holds them folded. Raises ArtifactError
        for a bad file, ModelError for another network, OSError.
        """
        self._take_weights(load(path), path)

    def _take_weights(self, model: Model, path: PathLike) -> None:
        """Become the network of a model that was read from `path`. Raises ModelError."""
        mine = self.layout
        theirs = describe_layout(model.layer_sizes, [layer.activation for layer in model.layers])
        if mine != theirs:
            raise ModelError(f"{path}: holds {theirs}, expected {mine}; build the network to match")
        for layer in model.layers:
            if not isinstance(layer, Dense):
                kind = f"{layer.precision} {type(layer).__name__}"
                raise ModelError(
                    f"{path}: layer '{layer.name}' is {kind}, expected float32 or float16 Dense to train on"
                )
        for block, layer in zip(self.chain.blocks, model.layers, strict=True):
            assert isinstance(layer, Dense)
            block.dense.weights, block.dense.bias = layer.weight, layer.bias
            for extra in block.between:
                extra.reset(self.rng)
        self.target_units = None
        self.preprocessing, self.class_names, self._is_fresh = model.preprocessing, model.class_names, False

    # preparation

    def _standardized(self, x: ArrayLike, what: str = "x") -> Array:
        """Checked rows of the training dtype with the preprocessing applied; never writes into the caller's array."""
        rows = checked_rows(x, self.n_in, self.config.dtype, what)
        if self.preprocessing is None:
            return rows
        is_own = not (isinstance(x, np.ndarray) and np.may_share_memory(rows, x))
        return self.preprocessing(rows, out=rows if is_own else None)

    def _rows(
        self,
        x: ArrayLike,
        y: ArrayLike,
        loss: Loss,
        label_smoothing: float = 0.0,
        class_weight: ClassWeight = None,
        sample_weight: Array | None = None,
        what: str = "",
    ) -> Rows:
        """Rows and targets as training takes them."""
        units = self.target_units if self._takes_units(loss) else None
        rows = self._standardized(x, f"{what}x")
        targets = encode_targets(
            y, len(rows), self.n_out, loss, self.config.dtype,
            label_smoothing=label_smoothing, class_weight=class_weight, sample_weight=sample_weight,
            units=units, what=f"{what}y",
        )  # fmt: skip
        return Rows(rows, targets)
