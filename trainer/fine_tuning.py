"""Fine-tuning: a quantized model goes on learning on the very integers that it runs on, and wins back what was lost."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from edge_runtime import Dense, Engine, Model, QuantizedDense, TestVectors
from edge_runtime.array_types import Array
from edge_runtime.layers import Layer, LayerNorm, Stage
from edge_runtime.model import as_model
from edge_runtime.numerics import INT4_MAX, INT4_MIN, WEIGHT_MAX
from edge_runtime.version import made_with
from trainer.activations import DERIVATIVES
from trainer.config import check_whole
from trainer.data import (
    Augmentation,
    ClassWeight,
    TargetUnits,
    check_images,
    checked_rows,
    encode_targets,
    weighted_rows,
)
from trainer.errors import ConfigurationError, DataWarning
from trainer.fitting import Rows, Throttle, TrainingOptions, TrainingRun, pair_of, with_share_apart
from trainer.history import EpochRecord, History
from trainer.logits import as_probabilities
from trainer.losses import Loss, ScaledLoss, choose_loss
from trainer.network import (
    FlatParameters,
    FloatBlock,
    LayerChain,
    QuantizedBlock,
    check_activations,
    source_doubts,
)
from trainer.optimizers import Optimizer
from trainer.schedules import Schedule
from trainer.scores import ClassScores, ValueScores, scores_of

WEIGHT_LIMITS = {8: (-WEIGHT_MAX, WEIGHT_MAX), 4: (INT4_MIN, INT4_MAX)}  # of a weight's integers, by its bits
LEARNING_RATES = {8: 0.001, 4: 0.004}  # by default, by the bits of weights: a step of few bits is long
NOTE = "fine_tuning"  # the key of the metadata that says how it was done
_AGREEMENT = "agreement with the float model"  # an accuracy where there are no labels
_ADVICE = "try a lower learning rate, or more rows"


@dataclass(frozen=True)
class TuningDefaults:
    """What is used where nothing is said, by `fine_tune` and the command: fewer and smaller steps than a training's."""

    epochs: int = 20
    batch_size: int | None = None
    learning_rate: float | None = None
    optimizer: str = "adam"
    schedule: str = "cosine"
    validation_share: float = 0.1
    monitor: str | None = None


def fine_tune(
    model: Model,
    quantized: Model,
    x: ArrayLike,
    y: ArrayLike | None,
    *,
    sample_weight: ArrayLike | None = None,
    epochs: int = TuningDefaults.epochs,
    batch_size: int | None = TuningDefaults.batch_size,
    learning_rate: float | None = TuningDefaults.learning_rate,
    validation_data: tuple[ArrayLike, ArrayLike | None] | None = None,
    validation_share: float = TuningDefaults.validation_share,
    patience: int | None = None,
    min_delta: float = 0.0,
    monitor: str | None = TuningDefaults.monitor,
    shuffle: bool = True,
    optimizer: str | Optimizer = TuningDefaults.optimizer,
    schedule: str | Schedule = TuningDefaults.schedule,
    loss: str | Loss | None = None,
    label_smoothing: float = 0.0,
    class_weight: ClassWeight = None,
    augment: str | Augmentation | None = None,
    seed: int = 0,
    on_epoch: Callable[[EpochRecord], object] | None = None,
) -> Model:
    """`quantized` with integers that were trained on rows x (rows, n_in), on the same grids.

    model: the float32 model that `quantized` was made of, with its units (equalized, if it is); one of other weights is
    told by their signs, with a DataWarning. quantized: of layers in int8 or int4; those in float32 or float16 are
    trained as floats.
    y: labels (rows,) as indices of classes, or target values (rows, n_out) in real units, the rows themselves for an
    autoencoder. None: what `model` answers to x, for rows without labels, and for rows that it knows by heart: labels
    teach nothing more there. Shares of classes (rows, n_out) may be a larger network's answers.
    Where y are classes and the outputs no probabilities, but logits, what is learned is the cross-entropy of their
    softmax, or for one output of its sigmoid; `loss` "mse" takes outputs as values. One output means a class where the
    model says so, by class_names or its metadata, or `loss` is "binary_cross_entropy".
    The forward pass is that of the device, bit for bit; weights, biases and the scales of weights follow gradients that
    pass through the rounding (`trainer.network.fake_quantization`). Ranges of activations stay.
    validation_data: (x, y); without it, so large a `validation_share` of the rows, drawn by the seed, is held out, and
    where that is too few rows, all of them are judged on. What is kept is the best epoch on these rows, by `monitor`:
    None is "loss" for values, and for classes the accuracy of epochs without a higher loss than before, of equals the
    one of least loss. `quantized` is returned as it is, with a DataWarning, if no epoch is better, or if it would
    have a lower accuracy or R^2 there.
    epochs: 1 or more. batch_size: as in `NeuralNetworkModel.fit`, and so are the other arguments. learning_rate: in
    parts of the largest weight of a channel; None is 0.001, or 0.004 for weights of 4 bits. seed: of the order of rows,
    of what is held out and of augmentation.
    The metadata say what was done; stored test vectors keep their inputs. Raises InputError for data,
    ConfigurationError for settings and for layers that cannot be trained, TrainingDiverged.
    """
    model, quantized = as_model(model), as_model(quantized)
    options = tuning_options(
        quantized,
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, min_delta=min_delta,
        validation_share=validation_share, patience=patience, monitor=monitor, shuffle=shuffle, optimizer=optimizer,
        schedule=schedule, loss=loss, label_smoothing=label_smoothing, class_weight=class_weight, augment=augment,
        on_epoch=on_epoch,
    )  # fmt: skip
    found = tune(
        model, quantized, x, y, options, sample_weight=sample_weight,
        validation_data=validation_data, seed=check_whole("seed", seed, 0),
    )  # fmt: skip
    for text in found.doubts:
        warnings.warn(text, DataWarning, stacklevel=2)
    return found.model


class Tuned(NamedTuple):
    """model: the best one; the quantized model itself if no epoch was better. before: what that reaches, as epoch 0.

    doubts: what to know before trusting it, a line each.
    """

    model: Model
    history: History
    before: EpochRecord
    doubts: tuple[str, ...] = ()


def tuning_options(quantized: Model | int, **given: Any) -> TrainingOptions:
    """The options of a run, by the names of `fine_tune`'s arguments; what is not given is by default.

    quantized: the model, or the bits of its weights.
    """
    defaults = {"patience": None, "min_delta": 0.0, "shuffle": True, "loss": None, "label_smoothing": 0.0}
    defaults |= {"class_weight": None, "augment": None, "on_epoch": None}
    own = {"standardize": "none", "checkpoint": None, "resume": None}
    values = {**defaults, **asdict(TuningDefaults()), **own, **given}
    if values["learning_rate"] is None:
        values["learning_rate"] = LEARNING_RATES[quantized if isinstance(quantized, int) else _fewest_bits(quantized)]
    check_whole("epochs", values["epochs"], 1)
    return TrainingOptions.of(**values)


def _fewest_bits(quantized: Model) -> int:
    """Of the weights of its layers in integers."""
    layers = [layer for layer in quantized.layers if isinstance(layer, QuantizedDense)]
    return min((layer.weight_bits for layer in layers), default=8)


def tune(
    model: Model,
    quantized: Model,
    x: ArrayLike,
    y: ArrayLike | None,
    options: TrainingOptions,
    *,
    sample_weight: ArrayLike | None = None,
    validation_data: Any = None,
    seed: int = 0,
) -> Tuned:
    """`fine_tune`, with what it went through."""
    learning = as_probabilities(quantized, y, options.loss)
    blocks = training_blocks(model, learning)
    check_activations(model, quantized)
    rows, validation, function = _data(model, learning, x, y, sample_weight, validation_data, options, seed)
    options = options.for_rows(len(rows))
    rng = np.random.Generator(np.random.PCG64(seed))
    parameters = FlatParameters([block.dense for block in blocks], np.dtype(np.float32))
    run = TrainingRun(LayerChain(blocks), parameters, rng, options, function, 0.0, rows, validation, {}, Throttle(1.0))
    before, doubts = run.start_from_present(), source_doubts(model, quantized)
    history = run.run()
    answers = is_agreement(y, validation_data)
    metric = metric_text(history.metric_name, answers)
    if history.best_epoch == 0:
        return Tuned(quantized, history, before, (*doubts, _no_better(before, metric, len(validation))))
    best = history.records[history.best_epoch - 1]
    reached = f"{_reached(before, metric)} before, {_reached(best, metric)} after"
    note = f"{_done(options, best, seed)}; {reached}, on {len(validation):,} rows"
    layers = [block.to_layer() for block in blocks]
    layers[-1] = replace(layers[-1], activation=quantized.final_activation)
    metadata = {**quantized.metadata, **made_with(), NOTE: note}
    tuned = replace(quantized, layers=tuple(layers), metadata=metadata)
    doubt = _lower_score(quantized, tuned, validation, answers)
    if doubt is not None:
        return Tuned(quantized, replace(history, best_epoch=0), before, (*doubts, doubt))
    return Tuned(_finished(tuned), history, before, tuple(doubts))


def check_trainable(model: Model) -> None:
    """Raise ConfigurationError for a model of which no quantized one could be fine-tuned, before that is made."""
    for layer in model.layers:
        if isinstance(layer, LayerNorm):
            raise _not_trained(layer)
        if not isinstance(layer, (Dense, Stage)):
            raise ConfigurationError(f"layer '{layer.name}' is {layer.precision} already; start from the float32 model")


def _not_trained(layer: Layer) -> ConfigurationError:
    return ConfigurationError(
        f"layer '{layer.name}' is a {type(layer).__name__}, which cannot be fine-tuned; expected dense layers alone, "
        "on grids of their own or in floats"
    )


def check_moves(options: TrainingOptions, model: Model, x: ArrayLike, y: ArrayLike) -> None:
    """Raise ConfigurationError for an augmentation that does not fit rows x (rows, n_in) and their targets."""
    if options.augment is not None:
        check_images(options.augment, x, y, model.preprocessing)


def is_agreement(y: ArrayLike | None, validation_data: Any = None) -> bool:
    """Whether what is judged by are the float model's own answers: there are no labels. Arguments of `fine_tune`."""
    return y is None if validation_data is None else pair_of(validation_data)[1] is None


def metric_text(name: str, of_answers: bool) -> str:
    """What a metric of the history is called; of_answers: beside what the float model answers, which is no truth."""
    if not of_answers:
        return name.replace("_", " ")
    return _AGREEMENT if name == "accuracy" else "mean absolute difference from the float model"


def _lower_score(quantized: Model, tuned: Model, rows: Rows, of_answers: bool) -> str | None:
    """Why `quantized` stays: on these rows its accuracy or R^2 is higher. None where it is not."""
    truth = rows.targets.values if rows.targets.labels is None else rows.targets.labels
    before, after = (_scores(model, rows.x, truth) for model in (quantized, tuned))
    return None if after.value >= before.value else lower_score(before, after, of_answers)


def lower_score(before: ClassScores | ValueScores, after: ClassScores | ValueScores, of_answers: bool = False) -> str:
    """What is said where a model stays as it was because its score is higher than that of what was learned.

    of_answers: the scores are beside what the float model answers.
    """
    name = after.name
    if of_answers:
        name = _AGREEMENT if isinstance(after, ClassScores) else f"{name} of the float model's answers"
    return (
        f"{name} fell from {before.value:.4f} to {after.value:.4f} on {after.rows:,} rows: the model before "
        f"stays as it is; {_ADVICE}"
    )


def _scores(model: Model, x: Array, truth: Array) -> ClassScores | ValueScores:
    """Of rows that are standardized already."""
    engine = Engine(replace(model, preprocessing=None, test_vectors=None))
    return scores_of(truth, engine.predict(x) if truth.dtype.kind == "i" else engine.run(x), ())


def training_blocks(model: Model, quantized: Model) -> list[FloatBlock | QuantizedBlock]:
    """A block for each layer of `quantized`, on whose integers it begins. Raises ConfigurationError."""
    if not any(isinstance(layer, QuantizedDense) for layer in quantized.layers):
        raise ConfigurationError(
            f"quantized is a {quantized.precision} model, expected layers in int8 or int4; export.quantize makes them"
        )
    sources = {layer.name: layer for layer in model.layers}
    return [_block(layer, sources.get(layer.name)) for layer in quantized.layers]


def _block(layer: Layer, source: Layer | None) -> FloatBlock | QuantizedBlock:
    if not isinstance(layer, (Dense, QuantizedDense)):
        raise _not_trained(layer)
    if not isinstance(source, Dense) or source.weight.shape != layer.weight.shape:
        found = "none" if source is None else repr(source)
        raise ConfigurationError(
            f"layer '{layer.name}' of quantized is {layer.n_in} x {layer.n_out}, the model's is {found}; give the "
            "float model that it was made of"
        )
    has_table = isinstance(layer, QuantizedDense) and layer.table is not None
    if layer.activation.name not in DERIVATIVES and not has_table:
        raise ConfigurationError(
            f"layer '{layer.name}' has {layer.activation}, which can be run but not trained; expected one of "
            f"{', '.join(DERIVATIVES)}, or a table between int8 layers"
        )
    if isinstance(layer, Dense):
        return FloatBlock(layer, source)
    if layer.weight.dtype != np.int8:
        raise ConfigurationError(
            f"layer '{layer.name}' has weights of 9 bits, an import's uint8 less their zero point; expected int8: "
            "quantize the float model anew"
        )
    return QuantizedBlock(layer, WEIGHT_LIMITS[layer.weight_bits])


def _data(
    model: Model,
    quantized: Model,
    x: ArrayLike,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    validation_data: Any,
    options: TrainingOptions,
    seed: int,
) -> tuple[Rows, Rows, Loss]:
    """Rows to train on, rows to judge on, and the loss."""
    loss = choose_loss(options.loss, quantized.final_activation, quantized.n_out)
    x, y, weight = weighted_rows(x, _truth(model, x, y), sample_weight)
    rows = _rows(quantized, x, y, loss, options, weight)
    check_moves(options, quantized, x, y)
    if validation_data is None:
        rows, validation = with_share_apart(rows, options.validation_share, seed)
    else:
        held, truth = pair_of(validation_data)
        plain = replace(options, label_smoothing=0.0, class_weight=None)
        validation = _rows(quantized, held, _truth(model, held, truth, "validation "), loss, plain, None, "validation ")
    if loss.takes_units and quantized.final_activation.name == "linear" and rows.targets.labels is None:
        scale = TargetUnits.of(rows.targets.values.astype(np.float64), weight).scale
        loss = ScaledLoss(loss, (1 / scale).astype(np.float32))
    return rows, rows if validation is None else validation, loss


def _truth(model: Model, x: ArrayLike, y: ArrayLike | None, what: str = "") -> ArrayLike:
    """The labels or targets; without any, the float model's own answers."""
    if y is not None:
        return y
    rows = checked_rows(x, model.n_in, np.dtype(np.float32), f"{what}x")
    return Engine(model).run(rows)


def _rows(
    model: Model,
    x: ArrayLike,
    y: ArrayLike,
    loss: Loss,
    options: TrainingOptions,
    weight: Array | None,
    what: str = "",
) -> Rows:
    """Rows as they enter the first layer, and their targets in real units."""
    rows = checked_rows(x, model.n_in, np.dtype(np.float32), f"{what}x")
    targets = encode_targets(
        y, len(rows), model.n_out, loss, np.dtype(np.float32),
        label_smoothing=options.label_smoothing, class_weight=options.class_weight, sample_weight=weight,
        what=f"{what}y",
    )  # fmt: skip
    return Rows(rows if model.preprocessing is None else model.preprocessing(rows), targets)


def _finished(model: Model) -> Model:
    """With the outputs that it gives for the inputs of its test vectors."""
    if model.test_vectors is None:
        return model
    inputs = model.test_vectors.inputs
    outputs = Engine(replace(model, test_vectors=None)).logits(inputs)
    return model.with_test_vectors(TestVectors(inputs, outputs))


def _no_better(before: EpochRecord, metric: str, rows: int) -> str:
    return (
        f"no epoch was better than the model before ({_reached(before, metric)}, on {rows:,} rows): it stays as it is; "
        f"{_ADVICE}"
    )


def _done(options: TrainingOptions, best: EpochRecord, seed: int) -> str:
    """How it was done, for the metadata: no time and no path, so that equal runs write equal bytes."""
    moved = "" if options.augment is None else f", {options.augment}"
    return (
        f"epoch {best.epoch} of {options.epochs}, {options.optimizer.name}, learning rate "
        f"{options.learning_rate:g}, {options.schedule.name}, batches of {options.batch_size}, seed {seed}{moved}"
    )


def _reached(record: EpochRecord, metric: str) -> str:
    return f"loss {record.validation_loss:.4g}, {metric} {record.validation_metric:.4g}"
