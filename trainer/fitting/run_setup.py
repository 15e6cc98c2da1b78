"""What stands between the data of a run and its loop: memory counted, batch size fitted, settings written down."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edge_runtime import InputError
from trainer.config import PrecisionConfig
from trainer.data import ClassWeight, drawn, shuffled
from trainer.fitting.batches import Rows
from trainer.fitting.checkpoint import data_digest
from trainer.fitting.options import OF_ONE_RUN, SETTINGS, TrainingOptions
from trainer.fitting.simulation import MemoryCount, count_memory, fitting_batch_size
from trainer.losses import Loss

# in the order in which OpenBLAS, which NumPy's wheels hold, asks
_THREADS = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
FEWEST_HELD_OUT, FEWEST_OF_CLASS = 10, 3  # with fewer rows, which epoch is the best one is chance


def pair_of(data: Any) -> tuple[ArrayLike, ArrayLike]:
    """`validation_data` as (x, y). Raises InputError for anything but a pair."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise InputError(f"validation_data is a {type(data).__name__}, expected a pair (x, y)")
    return data[0], data[1]


def with_share_apart(rows: Rows, share: float, seed: int) -> tuple[Rows, Rows | None]:
    """Training rows, and a share of them for validation, each class with its own; None where it were too few rows.

    Weights of validation rows are left out: a validation loss counts each row once.
    """
    count, labels = round(len(rows) * share), rows.targets.labels
    classes = 0 if labels is None else len(np.unique(labels))
    if count < max(FEWEST_HELD_OUT, FEWEST_OF_CLASS * classes):
        return rows, None
    order = shuffled(len(rows), seed)
    stay, drawn_rows = drawn(order, count, None if labels is None else labels[order])
    apart = rows.take(drawn_rows)
    picked = dataclasses.replace(rows, picked=np.sort(stay))  # without a copy of their values
    return picked, Rows(apart.x, dataclasses.replace(apart.targets, weight=None))


def stated_threads() -> int:
    """Threads of NumPy's matrix products, as the environment or the machine says: sums depend on them in the last bit.

    What a program changes later, by other means, is not seen.
    """
    stated = (os.environ.get(name, "") for name in _THREADS)
    return next((int(text) for text in stated if text.isdecimal() and int(text) > 0), os.cpu_count() or 1)


def owned_bytes(rows: Rows, x: Any) -> int:
    """Bytes of prepared data that are not the caller's own array x."""
    targets = rows.targets
    own = [targets.values, targets.labels, targets.weight, rows.picked]
    if not (isinstance(x, np.ndarray) and np.may_share_memory(x, rows.x)):
        own.append(rows.x)
    return sum(array.nbytes for array in own if array is not None)


def fit_to_hardware(
    network: Any, options: TrainingOptions, rows: Rows, validation: Rows | None, owned: int
) -> tuple[TrainingOptions, MemoryCount]:
    """The options with the batch size that will be used, and the bytes of that run.

    network: a `NeuralNetworkModel`. Raises BudgetExceeded where hardware is simulated and one row does not fit.
    """

    def count(batch_size: int) -> MemoryCount:
        return count_memory(network.chain.blocks, network.parameters, options, rows, validation, batch_size, owned)

    config: PrecisionConfig = network.config
    size = options.batch_size or len(rows)
    if config.enable_hardware_simulation:
        size = fitting_batch_size(config, size, count)
    size = min(size, len(rows))
    return dataclasses.replace(options, batch_size=size), count(size)


def _stated(class_weight: ClassWeight) -> Any:
    """Class weights in one form for a mapping, a list and an array; classes that weigh 1 are left out."""
    if class_weight is None or isinstance(class_weight, str):
        return class_weight
    pairs = class_weight.items() if isinstance(class_weight, Mapping) else enumerate(class_weight)
    return {int(index): float(weight) for index, weight in sorted(pairs) if weight != 1}


def _classes(network: Any) -> str:
    """What the classes are called, by which the same indices may mean something else."""
    names = network.class_names if len(network.class_names) else getattr(network, "classes_", ())
    numbered = range(max(network.n_out, 2))
    texts = [str(name) for name in names]
    return f"numbered from 0 to {numbered[-1]}" if not texts or texts == list(map(str, numbered)) else str(texts)


def describe_run(
    network: Any, options: TrainingOptions, loss: Loss, rows: Rows, validation: Rows | None
) -> dict[str, str]:
    """All that decides a run's result, as text; what a checkpoint is compared by. Empty without checkpoints."""
    if options.checkpoint is None and options.resume is None:
        return {}
    config: PrecisionConfig = network.config
    units = rows.targets.units
    data = [rows.x, rows.targets.values, rows.targets.weight]
    if validation is not None:
        data += [validation.x, validation.targets.values, validation.targets.weight]
    settings = {
        "seed": config.seed,
        "layers": network.layout,
        "between": [type(layer).__name__ for layer in network.chain.blocks[0].between],
        "l2_lambda": network.l2_lambda,
        "dropout_rate": network.dropout_rate,
        "precision": (config.train_dtype, config.precision_mode, config.int8_clip_value),
        "loss": (type(loss).__name__, dataclasses.asdict(loss)),
        "optimizer": (type(options.optimizer).__name__, dataclasses.asdict(options.optimizer)),
        "schedule": (type(options.schedule).__name__, dataclasses.asdict(options.schedule)),
        "epochs": options.epochs if options.schedule.depends_on_length else "any",
        "class_weight": _stated(options.class_weight),
        "classes": _classes(network),
        "threads": stated_threads(),
        "target_units": None if units is None else data_digest(units.mean, units.scale),
    }
    settings |= {name: getattr(options, name) for name in SETTINGS if name not in (*settings, *OF_ONE_RUN)}
    settings["data"] = data_digest(*data)  # last: the settings that it is prepared with are named in its place
    return {name: str(value) for name, value in settings.items()}
