"""One plain sentence: which layer it is, what was tried and what that gave, or that there is nothing to mend."""

from __future__ import annotations

from collections.abc import Sequence

from export.diagnosis.answers import Answers
from export.diagnosis.findings import Finding
from export.diagnosis.layer_errors import LayerErrors
from export.diagnosis.losses import decibels, doubt, figures, gained, is_within_chance, lost_decisions
from export.diagnosis.remedies import Remedy

NOTHING = "nothing to mend"
MUCH_MORE_DB = 3.0  # half of the noise


def sound(precision: str, before: Answers, small: Answers, remedies: Sequence[Remedy]) -> str:
    """Where nothing is wrong. What costs nothing and gives much more is said."""
    more = [each for each in remedies if each.answers and each.answers.judged_db >= small.judged_db + MUCH_MORE_DB]
    result = _result(precision, before, small, expects=False, doubts=False)
    return "; ".join([f"{NOTHING}: {result}", *(_help(small, more, each) for each in more)])


def harmless(precision: str, finding: Finding, before: Answers, small: Answers) -> str:
    """Where a layer is odd, and its outputs do not suffer."""
    lost = lost_decisions(before, small)
    said = "nothing is" if lost is None or lost <= 0 else "little is"
    if is_within_chance(before, small):
        said = "no more than chance may lose is"
    return f"{_said(finding)}; {said} lost by it on these rows: {_result(precision, before, small)}"


def dead(precision: str, finding: Finding, before: Answers, small: Answers) -> str:
    """Where the float model itself is worth nothing."""
    advice = "no quantization did that and none mends it, train it again, with a lower learning rate or smaller biases"
    return f"{_said(finding)}; {advice}; {_result(precision, before, small)}"


def before_any_layer(
    precision: str, finding: Finding, before: Answers, small: Answers, remedies: Sequence[Remedy], best: Remedy | None
) -> str:
    """Where no layer is to blame: each gets rows that are not those of the float model."""
    advice = "no layer did that: give the small model the standardization of the float model that it was made of"
    return f"{finding.text}; {advice}; {_result(precision, before, small)}; {_help(small, remedies, best)}"


def broken(
    precision: str,
    worst: LayerErrors,
    finding: Finding | None,
    before: Answers,
    small: Answers,
    remedies: Sequence[Remedy],
    best: Remedy | None,
) -> str:
    """Where something is lost: the layer, and what helps of all that was tried."""
    if finding is not None:
        said, result = _said(finding), _result(precision, before, small)
    else:
        alone, why = decibels(worst.alone.judged_db), doubt(before, small, precision)
        said = f"layer '{worst.name}': most of the error is made there, {alone} by it alone, and {why}"
        result = _result(precision, before, small, expects=False)
    return f"{said}; {result}; {_help(small, remedies, best)}"


def _help(small: Answers, remedies: Sequence[Remedy], best: Remedy | None) -> str:
    options = [remedy.option for remedy in remedies if remedy.is_tried]
    untried = "".join(f"; not tried: {remedy.option}" for remedy in remedies if not remedy.is_tried)
    if best is not None and best.answers is not None:
        return f"{best.what} ({best.option}) {gained(small, best.answers)}{untried}"
    if not options:
        return f"nothing was tried{untried}"
    if len(options) == 1:
        return f"{options[0]} was tried and wins nothing back{untried}"
    return f"{', '.join(options[:-1])} and {options[-1]} were tried, and none wins anything back{untried}"


def _said(finding: Finding) -> str:
    return f"layer '{finding.layer}': {finding.text}"


def _result(precision: str, before: Answers, small: Answers, **said: bool) -> str:
    verb = "gives" if small.changed is None else "loses"
    return f"{precision} {verb} {figures(before, small, precision, **said)}"
