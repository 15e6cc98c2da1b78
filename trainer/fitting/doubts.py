"""What a user should know before trusting a training that ended like success: one line each, with its figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.history import History

_FEWEST_EPOCHS, _STILL = 3, 1e-4  # epochs from which a loss should have moved, by more than this share of it
_ADVICE = "look at the data, or try more --epochs or another --learning-rate"


def history_doubts(history: History) -> list[str]:
    """A training whose loss never moved has learned nothing, whatever the score says."""
    losses = history.loss
    if len(losses) < _FEWEST_EPOCHS or max(losses) - min(losses) > _STILL * abs(max(losses)):
        return []
    return [
        f"the training loss never moved ({losses[0]:.4g} in the first epoch, {losses[-1]:.4g} in the last): the inputs "
        "may say nothing once standardized, as beside a value that is far too large, or the learning rate is too low"
    ]


def training_doubts(
    predicted: NDArray[Any],
    truth: NDArray[Any],
    trained_on: NDArray[Any],
    score: float,
    class_names: Sequence[str] = (),
) -> list[str]:
    """Why a network may be worth nothing, beside answers that need none.

    predicted, truth: of the held-out rows: class indices, int64 (n,), or values, float (n,) or (n, k).
    trained_on: the classes of the training rows; not looked at for values.
    score: accuracy, or R^2.
    class_names: of the classes; their indices if there are none.
    """
    if truth.dtype.kind not in "iu":
        return _regression_doubts(score)
    most = int(np.bincount(trained_on).argmax())
    share = float(np.mean(truth == most))
    found = []
    is_varied = len(np.unique(truth)) > 1
    if score < share or (score == share and is_varied):  # a right answer to each row of one class is no doubt of it
        found.append(
            f"test accuracy {score:.4f} is no better than always answering the most frequent class "
            f"'{_name(most, class_names)}' ({share:.4f}); {_ADVICE}"
        )
    answers = np.unique(predicted)
    if len(answers) == 1 and is_varied:
        only = _name(answers[0], class_names)
        advice = "" if found else f"; {_ADVICE}"  # once is enough
        found.append(f"all {len(predicted):,} held-out rows are answered with one class, '{only}'{advice}")
    if not is_varied:
        found.append(
            f"all {len(truth):,} held-out rows are of one class, '{_name(truth[0], class_names)}': test accuracy "
            f"{score:.4f} says nothing about the others; give more rows of each class"
        )
    return found


def _name(index: Any, class_names: Sequence[str]) -> str:
    return class_names[int(index)] if len(class_names) else str(index)


def _regression_doubts(score: float) -> list[str]:
    if score > 0:
        return []
    return [f"test R^2 {score:.4f} is no better than always answering the mean (0); {_ADVICE}"]
