"""Is anything lost that is worth a remedy? What two networks answer, as figures, as an order and as a judgement."""

from __future__ import annotations

import math

from export.diagnosis.answers import Answers
from export.quantization import LEAST_DB, LEAST_DB_INT8, MOST_CHANGED

FINE_DB = 25.0  # at the outputs: with as much, decisions that change were ties
MOST_TIES = 0.05  # share of decisions that may change where the signal is as loud as the precision gives at least
LEAST_POINTS = 0.005  # accuracy that may be lost without a remedy
LEAST_R2 = 0.01  # the same of R^2


def lost_decisions(before: Answers, after: Answers) -> int | None:
    """Right answers that are lost, or without labels decisions that change; None for values."""
    if before.right is not None and after.right is not None:
        return before.right - after.right
    return after.changed


def is_lost(before: Answers, after: Answers, precision: str) -> bool:
    """Whether the smaller network's answers are so much worse that a remedy is worth trying.

    With labels: accuracy lost by more than `LEAST_POINTS`, and by more than chance makes of as many changed decisions.
    Labels that are all as the float network answers say nothing beyond its decisions, and are judged as without: more
    decisions changed than `MOST_CHANGED` and chance make, or `MOST_TIES` where the signal is loud. For
    values: R^2, or the signal to noise below what a precision gives at least.
    """
    least = LEAST_DB.get(precision, LEAST_DB_INT8)
    lost = lost_decisions(before, after)
    if lost is None or after.changed is None:
        is_worse = before.r2 is not None and after.r2 is not None and before.r2 - after.r2 > LEAST_R2
        return is_worse or after.sqnr_db < least
    if before.right is not None and before.right < before.rows:
        return lost > max(LEAST_POINTS * before.rows, 2 * math.sqrt(after.changed))
    usual = before.rows * (MOST_CHANGED if after.sqnr_db < least else MOST_TIES)
    return after.changed > usual + 2 * math.sqrt(usual) and after.sqnr_db < FINE_DB


def order(answers: Answers) -> tuple[float, float]:
    """The larger, the better: right or unchanged decisions, then decibels."""
    decided = answers.right if answers.right is not None else -(answers.changed or 0)
    return float(decided), answers.sqnr_db


def figures(before: Answers, after: Answers) -> str:
    """What is lost, in words: "3 decisions of 360 (accuracy 0.9722 -> 0.9639), 31.0 dB at the outputs"."""
    lost = lost_decisions(before, after)
    end = f"{decibels(after.sqnr_db)} at the outputs"
    if lost is None:
        fit = "" if before.r2 is None else f"R^2 {before.r2:.4f} -> {after.r2:.4f}, "
        return f"{fit}{end}"
    lost, what = max(lost, 0), "decision" if lost == 1 else "decisions"
    if before.accuracy is None:
        return f"{lost:,} {what} of {after.rows:,}, {end}"
    accuracy = f"accuracy {before.accuracy:.4f} -> {after.accuracy:.4f}"
    return f"{lost:,} {what} of {after.rows:,} ({accuracy}; {after.changed:,} changed), {end}"


def gained(small: Answers, mended: Answers) -> str:
    """What a remedy gave, in words."""
    if small.right is not None and mended.right is not None:
        accuracy = f"accuracy {small.accuracy:.4f} -> {mended.accuracy:.4f}"
        return f"wins {_back(mended.right - small.right)} right answers back ({accuracy}, {decibels(mended.sqnr_db)})"
    if small.changed is not None and mended.changed is not None:
        back = small.changed - mended.changed
        return f"wins {_back(back)} of {small.changed:,} decisions back ({decibels(mended.sqnr_db)})"
    fit = "" if small.r2 is None else f", R^2 {small.r2:.4f} -> {mended.r2:.4f}"
    return f"gives {decibels(mended.sqnr_db)} in place of {decibels(small.sqnr_db)}{fit}"


def _back(count: int) -> str:
    return f"{count:,}" if count > 0 else "none"


def decibels(value: float) -> str:
    """With the unit; in words if nothing differs, and if nothing of the signal is left or there was none."""
    if math.isfinite(value):
        return f"{value:.1f} dB"
    return "no error" if value > 0 else "no signal"
