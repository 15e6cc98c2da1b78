"""The whole examination: rows, both networks, each layer, what is wrong, what helps, and the sentence."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.arguments import QUANTIZATION_CHECKS
from edge_runtime.errors import QuantizationError
from edge_runtime.layers import Dense, Layer
from edge_runtime.model import Model, as_model
from export.diagnosis import verdict
from export.diagnosis.aligned import alike
from export.diagnosis.answers import Answers, Judge
from export.diagnosis.codes import Ranges
from export.diagnosis.endings import ending_as
from export.diagnosis.findings import Finding, findings_of, saturates
from export.diagnosis.input_scales import INPUT, standardized_otherwise
from export.diagnosis.layer_errors import LayerErrors, layer_errors
from export.diagnosis.losses import is_lost, loses_score, order
from export.diagnosis.pairs import SideBySide
from export.diagnosis.remedies import Remedy, RemedyTrials, chosen
from export.diagnosis.report import Diagnosis
from export.diagnosis.rows import GivenRows, Overflow, rows_for
from export.diagnosis.tuned import needs_remedy, said_of_tuning, was_tuned
from export.quantization import (
    LARGEST,
    PRECISIONS,
    QuantizationWarning,
    Switches,
    calibrate,
    float_model,
    quantize_beside,
)

LEAST_MORE_DB = 0.1  # what gives no more is not worth a line


class _Both(NamedTuple):
    """The float network with the units of the small one, the small one, and what to know of how it was made."""

    source: Model
    small: Model
    notes: tuple[str, ...] = ()


def diagnose(
    model: Model,
    rows: Any,
    labels: Any = None,
    *,
    small: Model | None = None,
    precision: str = "int8",
    calibration: Any = None,
    method: str = "auto",
) -> Diagnosis:
    """Which layer quantization broke, and what mends it, on real rows. `str` of it is a table and a sentence.

    model: the float network; or a trained one, whose `to_model` gives it. rows: an array (n, n_in) or a frame, as a
    user would feed them; as many as memory allows are looked at, spread evenly. labels: right classes, whole numbers
    (n,), or targets, floats (n, n_out): with them damage is counted in right answers or R^2, without in decisions that
    change or in decibels.
    small: a smaller network that was made of `model` already, and ends in the same activation; one that was trained
    further is judged by labels, if there are any. Without it `model` is quantized to `precision` by `method`, as
    `export.quantize` does.
    calibration: rows to quantize with, which should not be among `rows`. Without them each fifth of `rows` is looked
    at, and the others calibrate (with fewer than 20 all do both).

    Remedies are tried if something is lost, each by quantizing anew. Raises InputError for rows, labels and models that
    do not fit together, QuantizationError for a network that cannot be quantized.
    """
    model = as_model(model)
    small = None if small is None else as_model(small)
    model = model if small is None else ending_as(model, small)
    QUANTIZATION_CHECKS.choice("precision", precision, PRECISIONS)
    given = rows_for(model, rows, labels, calibration)
    both = _both(model, small, precision, given, method)
    seen = _ranges(both.source, given.calibration) if small is None or calibration is not None else {}
    return _examined(model, both, given, seen, is_given=small is not None, method=method).diagnosis(
        (*given.notes, *both.notes)
    )


def _both(model: Model, small: Model | None, precision: str, given: GivenRows, method: str) -> _Both:
    if small is not None:
        return _Both(*alike(model, small))
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always", QuantizationWarning)
        try:
            found = quantize_beside(model, given.calibration, precision, Switches(method), 0)
            source, small = found.source, found.model
        except QuantizationError:
            if precision != "float16":
                raise
            source = replace(model, layers=float_model(model).layers)
            small = replace(source, layers=tuple(map(_clipped_to_halves, source.layers)), test_vectors=None)
    notes = [str(each.message) for each in caught if issubclass(each.category, QuantizationWarning)]
    if "calibration_ladder" in small.metadata:
        notes.append(f"auto took {small.metadata['calibration']}: {small.metadata['calibration_ladder']}")
    return _Both(alike(source, small).source if precision == "float16" else source, small, tuple(notes))


def _clipped_to_halves(layer: Layer) -> Layer:
    """Weights beyond float16 at its end: nothing that is written, but it shows what they cost."""
    if not isinstance(layer, Dense):
        return layer
    return replace(layer, weight=np.clip(layer.weight, -LARGEST, LARGEST).astype(np.float16))


def _ranges(source: Model, rows: NDArray[np.float32]) -> Ranges:
    return {name: (seen.low, seen.high) for name, seen in calibrate(source, rows).histograms.items()}


@dataclass(frozen=True, eq=False)
class _Case:
    """All that was seen, before anything is tried. layers: the most damaged first."""

    model: Model
    small: Model
    given: GivenRows
    judge: Judge
    before: Answers
    after: Answers
    layers: list[LayerErrors]
    findings: list[Finding]
    is_given: bool
    method: str
    labels_doubt: str | None = None

    @property
    def is_lost(self) -> bool:
        """Whether a remedy is worth trying."""
        return needs_remedy(self.before, self.after, self.small)

    @property
    def precision(self) -> str:
        """Of the smaller network."""
        return self.small.precision

    def remedies(self) -> list[Remedy]:
        """Those that were tried, in the order of what they cost, up to the first that is enough.

        The two worst layers stay in larger precisions, and the one that wins most back, in the order of the table: it
        is another if the grid between them is what is wrong, as a layer that stays float takes its inputs as they come.
        """
        winner = max(self.layers, key=lambda layer: order(layer.kept["float16"] or self.after))
        names = [layer.name for layer in self.layers if layer in self.layers[:2] or layer is winner]
        anew = self.is_given or self.method != "auto"
        differ = any(grid.is_beyond_calibration for layer in self.layers for grid in layer.grids)
        return self._trials().tried([] if self._of_inputs else names, self._is_enough, anew=anew, rows_differ=differ)

    @property
    def _of_inputs(self) -> Finding | None:
        """What is wrong before any layer."""
        return next((each for each in self.findings if each.layer == INPUT), None)

    def _free(self) -> list[Remedy]:
        """What costs nothing, if it gives more than there is."""
        found = [(remedy, remedy.answers) for remedy in self._trials().anew()]
        least = self.after.judged_db + LEAST_MORE_DB
        able = [(remedy, answers) for remedy, answers in found if answers and not loses_score(self.after, answers)]
        return [remedy for remedy, answers in able if answers.judged_db >= least]

    def _is_enough(self, answers: Answers) -> bool:
        return not is_lost(self.before, answers, self.precision) and not loses_score(self.after, answers)

    def _trials(self) -> RemedyTrials:
        return RemedyTrials(self.model, self.small, self.given.calibration, self.given.judged, self.judge)

    def diagnosis(self, notes: tuple[str, ...]) -> Diagnosis:
        """With the sentence."""
        finding = next((each for each in self.findings if each.layer == self.layers[0].name), None)
        remedies: list[Remedy] = []
        if finding is not None and finding.kind == "dead":
            text = verdict.dead(self.precision, finding, self.before, self.after)
        elif self.is_lost:
            remedies = self.remedies()
            best = chosen(remedies, self.before, self.after, self.precision)
            text = self._loss(finding, remedies, best)
        elif finding is not None:
            text = verdict.harmless(self.precision, finding, self.before, self.after)
        else:
            is_free = self.is_given and self.after.changed is None and not was_tuned(self.small)
            remedies = self._free() if is_free else []
            text = verdict.sound(self.precision, self.before, self.after, remedies)
        return Diagnosis(
            precision=self.precision,
            rows=len(self.given.judged),
            float_answers=self.before,
            small_answers=self.after,
            layers=tuple(self.layers),
            findings=tuple(self.findings),
            worst=self._worst(finding),
            remedies=tuple(remedies),
            verdict="; ".join([text, *said_of_tuning(self.after, self.small), *self._of_all()]),
            notes=notes,
            rows_in_all=self.given.of,
        )

    def _of_all(self) -> list[str]:
        """What the figures are of."""
        left_out = 0 if self.given.overflow is None else self.given.overflow.rows
        looked_at, of = len(self.given.judged) + left_out, self.given.of
        sample = [f"on {looked_at:,} of the {of:,} rows, spread evenly"] if looked_at < of else []
        return sample + ([] if self.labels_doubt is None else [self.labels_doubt])

    def _worst(self, finding: Finding | None) -> str | None:
        """Where to begin."""
        if self._of_inputs is not None:
            return INPUT
        return self.layers[0].name if self.is_lost or finding is not None else None

    def _loss(self, finding: Finding | None, remedies: list[Remedy], best: Remedy | None) -> str:
        """Of the inputs, or of the worst layer."""
        answers, of_inputs = (self.before, self.after), self._of_inputs
        if of_inputs is not None:
            return verdict.before_any_layer(self.precision, of_inputs, *answers, remedies, best)
        return verdict.broken(self.precision, self.layers[0], finding, *answers, remedies, best)


def _examined(model: Model, both: _Both, given: GivenRows, seen: Ranges, *, is_given: bool, method: str) -> _Case:
    beside = SideBySide(both.source, both.small, given.judged)
    judge = Judge(model, beside.exact_logits, given.labels)
    doubt = judge.labels_doubt
    judge = judge if doubt is None else judge.without_labels()
    before, after = judge.answers(beside.exact_logits), judge.answers(beside.found_logits)
    original = {layer.name: layer for layer in model.layers if isinstance(layer, Dense)}
    layers, findings = [], _overflows(given.overflow)
    if needs_remedy(before, after, both.small):  # else the first layer may hold the standardization
        findings += standardized_otherwise(model, beside)
    for pair in beside.weighted:
        layers.append(layer_errors(beside, pair, judge, seen))
        findings += findings_of(beside, pair, original[pair.name], layers[-1])
    layers.sort(key=lambda layer: _rank(layer, findings))
    return _Case(model, both.small, given, judge, before, after, layers, findings, is_given, method, doubt)


def _rank(layer: LayerErrors, findings: list[Finding]) -> tuple[bool, bool, float]:
    """Layers that are odd in themselves first; of these one whose inputs saturate: all behind it may for that alone."""
    is_odd = any(finding.layer == layer.name for finding in findings)
    is_entry = any(grid.place == "input" and saturates(grid, layer) for grid in layer.grids)
    return not is_odd, not is_entry, -layer.damage


def _overflows(overflow: Overflow | None) -> list[Finding]:
    if overflow is None:
        return []
    share = f"{overflow.rows:,} of {overflow.of:,} rows"
    text = f"float32 itself overflows: the float model gives NaN or inf on {share}, which were left out"
    return [Finding(overflow.layer, "nan", text)]
