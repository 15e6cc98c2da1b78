"""Is anything lost that is worth a remedy? What two networks answer, as figures, as an order and as a judgement."""

from __future__ import annotations

import math

from export.diagnosis.answers import Answers
from export.diagnosis.lost_whole import named
from export.quantization import LEAST_DB, LEAST_DB_INT8, MOST_CHANGED

FINE_DB = 25.0  # at the outputs: with as much, decisions that change were ties
MOST_TIES = 0.05  # share of decisions that may change so
LEAST_POINTS = 0.005  # accuracy that may be lost without a remedy
LEAST_R2 = 0.01  # the same of R^2


def lost_decisions(before: Answers, after: Answers) -> int | None:
    """Right answers that are lost, or without labels decisions that change; None for values."""
    if before.right is not None and after.right is not None:
        return before.right - after.right
    return after.changed


def chance(after: Answers) -> float:
    """Right answers that so many changed decisions may lose or win by chance: twice the root of their number."""
    return 2 * math.sqrt(after.changed or 0)


def is_within_chance(before: Answers, after: Answers) -> bool:
    """Whether right answers are lost, no more than chance may lose, and no class or output whole."""
    lost = lost_decisions(before, after) or 0
    return before.right is not None and not after.gone and 0 < lost <= chance(after)


def is_lost(before: Answers, after: Answers, precision: str) -> bool:
    """Whether the smaller network's answers are so much worse that a remedy is worth trying.

    With labels: accuracy lost by more than `LEAST_POINTS`, and by more than chance makes of as many changed decisions.
    For values: R^2. And whatever labels say, where `export` has doubts: the signal to noise, that of each target too,
    below what a precision gives at least; more decisions changed than `MOST_CHANGED`, unless these were ties; a class
    or an output that is lost whole.
    """
    return doubt(before, after, precision) is not None


def doubt(before: Answers, after: Answers, precision: str) -> str | None:
    """The first figure for which something is lost (`is_lost`), in words; None if nothing is."""
    lost, least = lost_decisions(before, after), least_db(precision)
    if before.right is not None and lost is not None and lost > max(LEAST_POINTS * before.rows, chance(after)):
        return f"accuracy falls by {100 * lost / before.rows:.1f} points"
    if before.r2 is not None and after.r2 is not None and before.r2 - after.r2 > LEAST_R2:
        return f"R^2 falls by {before.r2 - after.r2:.4f}"
    if _is_changed(after):
        most = MOST_CHANGED if after.judged_db < FINE_DB else MOST_TIES
        return f"{after.changed or 0:,} of {after.rows:,} decisions change, expected at most {int(most * after.rows):,}"
    if after.gone:
        return f"{named(after.gone)} is lost whole"
    if after.judged_db < least:
        return f"{decibels(after.judged_db)} are left at the outputs, expected at least {least:.0f}"
    if after.worst is not None and after.worst.sqnr_db < least:
        return f"{decibels(after.worst.sqnr_db)} are left of {after.worst.name}, expected at least {least:.0f}"
    return None


def is_as_good(before: Answers, after: Answers) -> bool:
    """Whether labels count both networks as good, to half a point or 0.01 of R^2; False without labels.

    Neither chance nor decibels are asked: it is for a network that need not answer as the float one does.
    """
    if after.gone:
        return False
    if before.right is not None and after.right is not None:
        return before.right - after.right <= LEAST_POINTS * before.rows
    if before.r2 is None or after.r2 is None:
        return False
    fits = [(before.r2, after.r2)]
    if after.worst is not None and after.worst.r2_before is not None and after.worst.r2 is not None:
        fits.append((after.worst.r2_before, after.worst.r2))
    return all(was - is_now <= LEAST_R2 for was, is_now in fits)


def loses_score(small: Answers, other: Answers) -> bool:
    """Whether labels count `other` less good than `small`: fewer right answers, or a lower R^2 in the digits said."""
    if small.right is not None and other.right is not None:
        return other.right < small.right
    if small.r2 is None or other.r2 is None or math.isnan(small.r2):
        return False
    return math.isnan(other.r2) or round(other.r2, 4) < round(small.r2, 4)


def _is_changed(after: Answers) -> bool:
    """Whether more decisions changed than may without a word; ties are few, beside a loud signal."""
    share = share_changed(after)
    return share > MOST_TIES or (share > MOST_CHANGED and after.judged_db < FINE_DB)


def share_changed(after: Answers) -> float:
    """Of the decisions; 0 for values."""
    return (after.changed or 0) / after.rows


def least_db(precision: str) -> float:
    """Decibels at the outputs that a precision gives at least."""
    return LEAST_DB.get(precision, LEAST_DB_INT8)


def order(answers: Answers) -> tuple[float, float]:
    """The larger, the better: right or unchanged decisions, then decibels."""
    decided = answers.right if answers.right is not None else -(answers.changed or 0)
    return float(decided), answers.judged_db


def figures(before: Answers, after: Answers, precision: str, *, expects: bool = True, doubts: bool = True) -> str:
    """What is lost, in words: "3 decisions of 360 (accuracy 0.9722 -> 0.9639), 31.0 dB at the outputs".

    expects: whether the decibels that were expected are said where they are not reached. doubts: whether an output that
    has fewer by itself is.
    """
    alike = "" if after.even_db is None else ", each target counting alike"
    few = f", expected at least {least_db(precision):.0f}" if expects and after.judged_db < least_db(precision) else ""
    gone = f", lost whole: {named(after.gone)}" if after.gone else ""
    end = f"{decibels(after.judged_db)} at the outputs{alike}{few}{gone}"
    lost = lost_decisions(before, after)
    if lost is None:
        fit = "" if before.r2 is None else f"R^2 {before.r2:.4f} -> {after.r2:.4f}, "
        return f"{fit}{_worst_figures(before, after, precision, doubts=doubts)}{end}"
    lost, what = max(lost, 0), "decision" if lost == 1 else "decisions"
    share = share_changed(after)
    is_beyond = before.accuracy is not None and lost > chance(after)
    ties = "" if is_beyond or _is_changed(after) else ", ties beside so loud a signal"
    many = "" if share <= MOST_CHANGED else f"{share:.1%}{ties}"
    if before.accuracy is None:
        return f"{lost:,} {what} of {after.rows:,}{f' ({many})' if many else ''}, {end}"
    within = ", within chance" if is_within_chance(before, after) else ""
    changed = f"{after.changed:,} changed{f' ({many})' if many else ''}"
    by_chance = f", +-{chance(after):.0f} by chance" if after.changed else ""
    accuracy = f"accuracy {before.accuracy:.4f} -> {after.accuracy:.4f}"
    return f"{lost:,} {what} of {after.rows:,}{within} ({accuracy}; {changed}{by_chance}), {end}"


def _worst_figures(before: Answers, after: Answers, precision: str, *, doubts: bool) -> str:
    """The target that suffers most, where it suffers: by R^2, or by decibels of its own."""
    worst = after.worst
    if worst is None:
        return ""
    is_worse = worst.r2 is not None and worst.r2_before is not None and worst.r2_before - worst.r2 > LEAST_R2
    fit = f"R^2 {worst.r2_before:.4f} -> {worst.r2:.4f}" if is_worse else ""
    loud = f"{decibels(worst.sqnr_db)}" if doubts and worst.sqnr_db < least_db(precision) else ""
    said = ", ".join(text for text in (fit, loud) if text)
    return f"the most at {worst.name} ({said}), " if said else ""


def gained(small: Answers, mended: Answers) -> str:
    """What a remedy gave, in words."""
    instead = f"{decibels(mended.judged_db)} in place of {decibels(small.judged_db)}"
    if small.right is not None and mended.right is not None:
        accuracy, back = f"accuracy {small.accuracy:.4f} -> {mended.accuracy:.4f}", mended.right - small.right
        what = "right answer" if abs(back) == 1 else "right answers"
        if back > 0:
            return f"wins {back:,} {what} back ({accuracy}, {decibels(mended.judged_db)})"
        return f"{f'loses {-back:,}' if back else 'wins no'} {what}{'' if back else ' back'} ({accuracy}, {instead})"
    if small.changed is not None and mended.changed is not None and (small.changed or mended.changed):
        back = small.changed - mended.changed
        if back > 0:
            return f"wins {back:,} of {small.changed:,} decisions back ({decibels(mended.judged_db)})"
        more = f"changes {-back:,} more {'decision' if back == -1 else 'decisions'}"
        return f"{more if back else f'wins none of {small.changed:,} decisions back'} ({instead})"
    fit = "" if small.r2 is None else f", R^2 {small.r2:.4f} -> {mended.r2:.4f}"
    return f"gives {instead}{fit}"


def decibels(value: float) -> str:
    """With the unit; in words if nothing differs, and if nothing of the signal is left or there was none."""
    if math.isfinite(value):
        return f"{round(value, 1) + 0.0:.1f} dB"  # no -0.0
    return "no error" if value > 0 else "no signal"
