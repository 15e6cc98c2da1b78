"""What a network is compared with: the answer that needs no network, and the network without hidden layers."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from trainer.datasets import Split
from trainer.errors import DataWarning
from trainer.recipe import answers, build_network, fit_network, trained_model
from trainer.scores import ClassScores, ValueScores, scores_of

CHEAP = 1 << 22  # training values x outputs up to which a network without hidden layers is trained beside
_CLEARLY = 0.02  # accuracy, or R^2, by which a simpler model must be better to be worth a warning
_LINEAR_RATE = 0.02  # without hidden layers each weight has a longer way to go, and nothing makes it unsteady
_CHANCE = 0.5  # the same, times the square root of the rows that it was measured on
_ADVICE = (
    "try --l2 0.1 (more penalty on the weights), or --hidden none, which trains the one without; else another "
    "--learning-rate or more --epochs"
)


class Baselines(NamedTuple):
    """constant: always the most frequent class, or the mean. linear: the network without hidden layers, or None."""

    constant: ClassScores | ValueScores
    linear: ClassScores | ValueScores | None

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        linear = None if self.linear is None else self.linear.value
        return {"score": self.constant.name, "constant": self.constant.value, "linear": linear}


def constant_baseline(parts: Split, names: tuple[str, ...]) -> ClassScores | ValueScores:
    """The score on the test rows of the most frequent class, or the mean, of the training rows."""
    truth, learned = parts.test.y, parts.train.y
    if parts.train.is_classification:
        return scores_of(truth, np.full(len(truth), int(np.bincount(learned).argmax())), names)
    return scores_of(truth, np.broadcast_to(learned.mean(axis=0, dtype=np.float64), truth.shape), names)


def linear_baseline(parts: Split, options: dict[str, Any], names: tuple[str, ...]) -> ClassScores | ValueScores | None:
    """The score of the network without hidden layers, trained with the same options; None where that is not cheap."""
    rows = parts.train
    if not options["hidden"] or options["target"] == "autoencoder" or rows.x.size * rows.n_out > CHEAP:
        return None
    plain = {**options, "hidden": (), "dropout": 0.0, "checkpoint": None, "resume": None}
    plain["learning_rate"] = options["learning_rate"] or _LINEAR_RATE
    network = build_network(rows, plain)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # the network itself has warned
            fit_network(network, parts, plain)
    except ArithmeticError:  # it diverged, which says nothing about the network with hidden layers
        return None
    return scores_of(parts.test.y, answers(trained_model(network, rows, plain), parts.test.x), names)


def baseline_doubts(scores: ClassScores | ValueScores, baselines: Baselines) -> list[str]:
    """What must not be missed: a network that is no better than what needs none, a line each."""
    margin = max(_CLEARLY, _CHANCE / scores.rows**0.5)
    if baselines.linear is None or scores.value > baselines.linear.value - margin:
        return []
    return [
        f"test {scores.name} {scores.value:.4f} is worse than that of the network without hidden layers "
        f"({baselines.linear.value:.4f}); {_ADVICE}"
    ]
