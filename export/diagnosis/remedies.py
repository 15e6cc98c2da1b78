"""What could be done about a loss, each really done: the network is made anew, and answers the same rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import SmallnetError
from edge_runtime.layers import WeightedLayer
from edge_runtime.model import Model
from edge_runtime.reference import logits, trace
from export.diagnosis.answers import Answers, Judge
from export.diagnosis.losses import is_lost, loses_score, order
from export.quantization import INTEGERS, KEPT, PRECISIONS, QuantizationWarning, quantize

# what may be taken in the place of a precision, in the order of what it costs
_LARGER = {
    "int8": ("int8-a16", "float16"),
    "int8-dynamic": ("int8", "float16"),
    "int4": ("int8", "int8-a16", "float16"),
    "int8-a16": ("float16",),
    "float16": ("int8", "float32"),
    "mixed": ("int8", "int8-a16", "float16"),
}


@dataclass(frozen=True)
class Remedy:
    """Something that was tried, or could be. what: in words. option: of `smallnet export`, or the command that does it.

    answers: of the network that it gave; None where it could not be done, for the reason in `refused`, or was not
    tried.
    """

    what: str
    option: str
    answers: Answers | None
    refused: str = ""

    @property
    def is_tried(self) -> bool:
        """Whether something is known of it."""
        return self.answers is not None or self.refused != ""

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "answers": None if self.answers is None else self.answers.as_dict()}


class _Offer(NamedTuple):
    """What would be tried: `quantize` to a precision, layers kept in others, calibrated on the judged rows or not."""

    what: str
    option: str
    precision: str
    keep: dict[str, str] | None = None
    on_judged_rows: bool = False


class RemedyTrials:
    """Makes others of the float `model` in the place of `small`: calibrated on some rows, judged on others."""

    def __init__(self, model: Model, small: Model, calibration: Any, rows: NDArray[np.float32], judge: Judge) -> None:
        self._model, self._precision = model, small.precision
        self._mix = {layer.name: layer.precision for layer in small.layers if isinstance(layer, WeightedLayer)}
        self._calibration, self._rows, self._judge = calibration, rows, judge

    def tried(
        self, layers: list[str], is_enough: Callable[[Answers], bool], *, anew: bool, rows_differ: bool = False
    ) -> list[Remedy]:
        """One after another, in the order of what they cost, until one is enough.

        layers: that may stay in larger precisions, in the order in which they are tried: int8 of int4, float16 of all.
        anew: whether another way to the same precision is one: if somebody made the small model already, or by a method
        that was named.
        rows_differ: whether the rows reach beyond those that calibrate, so that rows like them should do that.
        """
        found: list[Remedy] = []
        for offer in (*self._same_precision(layers, anew, rows_differ), *self._other_precisions()):
            found.append(self._try(*offer))
            answers = found[-1].answers
            if answers is not None and is_enough(answers):
                break
        if not any(self._is_free(remedy) and remedy.answers and is_enough(remedy.answers) for remedy in found):
            found += self._fine_tuning()
        return found

    @staticmethod
    def _is_free(remedy: Remedy) -> bool:
        """Whether it costs no byte."""
        return remedy.option in ("--calibrate", "--method auto")

    def _fine_tuning(self) -> list[Remedy]:
        """What takes minutes, and is named alone: learning on, from labels, of what training takes."""
        has_stages = any(not isinstance(layer, WeightedLayer) for layer in self._model.layers)
        if self._judge.labels is None or has_stages or self._precision not in INTEGERS:
            return []
        command = f"smallnet train --from MODEL --quantization-aware {self._precision} --data DATA"
        return [Remedy("learning on in the integers that it runs in", command, None)]

    def anew(self) -> list[Remedy]:
        """The same precision, made with the steps that help: nothing, if it is none that steps are known for."""
        return [self._try(*offer) for offer in self._same_precision([], True, False)]

    def _same_precision(self, layers: list[str], anew: bool, rows_differ: bool) -> Iterator[_Offer]:
        base = next((name for name in INTEGERS if name in self._mix.values()), None)
        if base is None or not set(self._mix.values()) <= set(KEPT):
            return
        mix = {name: precision for name, precision in self._mix.items() if precision != base}
        if rows_differ:
            yield _Offer("calibrating on rows like these", "--calibrate", base, mix, True)
        if anew:
            yield _Offer("making it anew", "--method auto", base, mix)
        for kept in ("int8", "float16") if base == "int4" else ("float16",):
            for name in layers:
                if self._mix.get(name) == base:
                    option = f"--keep {name}={kept}"
                    yield _Offer(f"keeping '{name}' in {kept}", option, base, {**mix, name: kept})

    def _other_precisions(self) -> Iterator[_Offer]:
        """The next ones up, the smallest files first."""
        for name in _LARGER.get(self._precision, ("float16",)):
            if name in PRECISIONS:
                yield _Offer(f"{name} as a whole", f"--precision {name}", name)

    def _try(
        self,
        what: str,
        option: str,
        precision: str,
        keep: dict[str, str] | None = None,
        on_judged_rows: bool = False,
    ) -> Remedy:
        calibration = self._rows if on_judged_rows else self._calibration
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore", QuantizationWarning)
                made = quantize(self._model, calibration, precision, keep=keep, test_vectors=0)
                if option == "--method auto":
                    what = f"{what} ({made.metadata['calibration']})"
                return Remedy(what, option, self._judge.answers(logits(made, trace(made, self._rows))))
        except SmallnetError as error:
            return Remedy(what, option, None, str(error))


def chosen(remedies: list[Remedy], before: Answers, small: Answers, precision: str) -> Remedy | None:
    """The first after which nothing is lost any more: they stand in the order of what they cost.

    Else the one that gives the most; None if none gives more than the `small` network itself. None that has a lower
    score by the labels is a remedy, whatever its decibels are.
    """
    able = [(remedy, answers) for remedy in remedies if (answers := remedy.answers) and not loses_score(small, answers)]
    enough = [remedy for remedy, answers in able if not is_lost(before, answers, precision)]
    better = [each for each in able if order(each[1]) > order(small)]
    if enough or not better:
        return enough[0] if enough else None
    return max(better, key=lambda each: order(each[1]))[0]
