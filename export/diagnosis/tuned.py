"""A small network that was trained further: labels judge it, not how far it is from the float one."""

from __future__ import annotations

from edge_runtime.model import Model
from export.diagnosis.answers import Answers
from export.diagnosis.losses import is_as_good, is_lost

TUNED_KEY = "fine_tuning"  # the key of the metadata under which `trainer.fine_tune` says what it did


def was_tuned(small: Model) -> bool:
    """Whether its integers were trained after they were made."""
    return TUNED_KEY in small.metadata


def needs_remedy(before: Answers, after: Answers, small: Model) -> bool:
    """Whether a remedy is worth trying for `small`, which answers `after` where the float network answers `before`.

    One that was trained further went its own way: where labels count it as good as the float one, nothing is lost.
    """
    return is_lost(before, after, small.precision) and not (was_tuned(small) and is_as_good(before, after))


def said_of_tuning(after: Answers, small: Model) -> list[str]:
    """What its decibels say then; nothing of a network that was not trained further."""
    if not was_tuned(small):
        return []
    without = "" if after.right is not None or after.r2 is not None else ": give labels, which judge it"
    return [f"it was trained further, so that its decibels say how far that led from the float network{without}"]
