"""The fewest bytes within a drop that a user allows: a precision for each layer, found by measuring.

First the whole network in one precision, the smallest first, up to the first that is within the drop. From there, and
from each larger precision up to float16, single layers go lower as far as the drop allows: once the largest first, once
those first that add the least noise. What takes the fewest bytes is kept. Every candidate is made and answers rows that
nothing was calibrated on. The same rows give the same choice on every machine, but for what a float kernel rounds.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.arguments import QUANTIZATION_CHECKS
from edge_runtime.engine import Engine
from edge_runtime.errors import InputError, QuantizationError
from edge_runtime.inputs import as_inputs
from edge_runtime.layers import Stage
from edge_runtime.model import Model, as_model, weight_bytes
from edge_runtime.numerics import first_not_finite
from export.quantization.calibration import CalibrationRows
from export.quantization.drops import AllowedDrop, DropJudge, drop_text, judged_answers, metric_for
from export.quantization.kept import checked_keep, kept_note
from export.quantization.labels import checked_labels
from export.quantization.mixes import LADDER, Mix, Mixes
from export.quantization.quantizer import Quantized, check_test_vectors, float_source
from export.quantization.recipe import FLOATS, QuantizationWarning, Switches
from export.quantization.test_rows import DEFAULT_ROWS, spread_places, with_test_vectors

MOST_TRIALS = 40  # mixes that are made and measured beside the uniform precisions
MOST_CHOSEN_ON = 8192  # that a choice is made on, spread evenly over those given

OnTrial: TypeAlias = "Callable[[Trial], None] | None"


@dataclass(frozen=True)
class Trial:
    """A candidate: the precision of each layer with weights, by name, its bytes, and how much worse it answers.

    drop: in `unit`; None for what could not be made, for the reason in `refused`. noise: of its outputs, -dB.
    is_within: whether the drop is allowed, with `reserve`: what chance may have made better, one standard error.
    target: the output whose error grows most, where the drop is that of one of several.
    """

    layers: dict[str, str]
    bytes: int
    drop: float | None
    noise: float
    is_within: bool
    unit: str
    refused: str = ""
    reserve: float = 0.0
    target: int | None = None

    @property
    def text(self) -> str:
        """Its precisions: "int8", or "int8 with dense0 int4"."""
        return mix_text(self.layers)

    @property
    def figure(self) -> str:
        """Its drop, with what chance may have made better: "0.28 +- 0.14 points"."""
        drop = math.inf if self.drop is None else self.drop
        return drop_text(drop, self.unit, self.reserve)

    @property
    def most(self) -> float:
        """The drop with what chance may have made better: what has to be allowed."""
        return math.inf if self.drop is None else self.drop + self.reserve

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        drop = self.drop if self.drop is None or math.isfinite(self.drop) else None
        return {
            "layers": self.layers,
            "bytes": self.bytes,
            "drop": drop,
            "reserve": self.reserve,
            "target": self.target,
            "is_within": self.is_within,
            "refused": self.refused,
        }


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen, beside its float network, and what was tried for it, in this order.

    model: the float32 network as it was. half: with float16 weights, if the metric is sqnr. refused: what was chosen
    before, and did not hold on other rows.
    """

    quantized: Quantized
    chosen: Trial
    trials: tuple[Trial, ...]
    judge: DropJudge
    model: Model
    half: Model | None
    search: _Search
    refused: tuple[Trial, ...] = ()

    def __repr__(self) -> str:
        """How it came about, in one line."""
        return f"Choice({self.chosen.text} of {len(self.trials):,} tried; {self.ladder()})"

    def judge_on(self, rows: NDArray[np.float32], labels: NDArray[Any] | None) -> DropJudge:
        """The same metric on other rows (n, n_in) with their labels: judges the `judged_answers` of a network."""
        return _judge(self.model, self.half, rows, labels, self.judge.allowed)

    def judge_of_outputs(self, rows: NDArray[np.float32], labels: NDArray[Any] | None) -> DropJudge:
        """The same, of what comes out of a file, which has its final activation in it."""
        half = None if self.half is None else Engine(self.half).run(rows)
        return DropJudge(self.model, Engine(self.model).run(rows), labels, self.judge.allowed, half)

    def further(self, excess: float = 0.0) -> Choice | None:
        """The next one, where this did not hold on other rows: the smallest with a drop that is less by `excess`.

        If there is none it is a whole network in floats. None if nothing is left. Test vectors are not stored.
        """
        refused = (*self.refused, self.chosen)
        found = self.search.below(self.chosen.most - max(0.0, excess), refused)
        return None if found is None else _choice(self.search, found, self.half, refused)

    def ladder(self) -> str:
        """The uniform precisions, what did not hold and what was chosen, with their drops, in words."""
        allowed = self.judge.allowed
        rungs = [trial for trial in self.trials if self.search.is_uniform(trial)]
        others = [trial for trial in (*self.refused, self.chosen) if trial not in rungs]
        steps = ", ".join(f"{trial.text} {self._said(trial)}" for trial in [*rungs, *others])
        return f"{self.judge.described}, {allowed.text(allowed.most)} allowed: {steps}"

    def _said(self, trial: Trial) -> str:
        if trial.drop is None:
            return "refused"
        held = " (more on other rows)" if trial in self.refused else ""
        return f"{trial.figure}{held}"


def quantize_within(
    model: Model,
    calibration: CalibrationRows,
    rows: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    max_drop: float,
    metric: str | None = None,
    test_vectors: int = DEFAULT_ROWS,
    on_trial: OnTrial = None,
) -> Model:
    """The same network in the fewest bytes that answer at most `max_drop` worse: a precision for each layer.

    model: float32 layers, or a trained network.
    calibration: an array (n, n_in), a frame or batches of rows, for the grids; not an iterator, for it is read often.
    rows: others (n, n_in), that the choice is made on; of more than 8,192 as many, spread evenly.
    labels: their classes, whole numbers (n,), or targets, floats (n, n_out).
    max_drop: what is allowed, 0 or more.
    metric: what it is of and in which unit, see `export.quantization.drops`: "accuracy" in percentage points (without
    labels, of decisions that change), "rmse" in percent, "sqnr" in dB below float16. By default accuracy for classes,
    rmse for targets, else sqnr.
    test_vectors: as for `quantize`. on_trial: told of each candidate.

    As much is kept back as chance may have won, one standard error: of accuracy the root of the number of decisions
    that changed, of errors that of their differences row by row. The metadata say what was tried. The drop on rows that
    the choice never saw may be larger: judge the model on such, as `smallnet export` does with the files. Raises
    QuantizationError for a metric that the labels do not allow and for what `quantize` refuses, InputError for rows and
    labels that do not fit.
    """
    allowed = None if metric is None else AllowedDrop(metric, max_drop)
    return choose_within(
        model, calibration, rows, labels, allowed or max_drop, Switches(), test_vectors=test_vectors, on_trial=on_trial
    ).quantized.model


def choose_within(
    model: Model,
    calibration: CalibrationRows,
    rows: ArrayLike,
    labels: ArrayLike | None,
    allowed: AllowedDrop | float,
    switches: Switches,
    *,
    test_vectors: int = DEFAULT_ROWS,
    on_trial: OnTrial = None,
    among: Sequence[str] = LADDER,
) -> Choice:
    """`quantize_within`, with what was tried. allowed: a number is a drop of the metric that the labels give.

    among: the precisions that a layer may have, in the order of LADDER, float16 and float32 with them.
    switches.keep: layers whose precision is not chosen. Raises QuantizationError where these alone lose too much.
    """
    model = as_model(model)
    switches = replace(switches, keep=_checked_keep(model, switches.keep, among))
    check_test_vectors(test_vectors)
    QUANTIZATION_CHECKS.function("on_trial", on_trial, "a function of a trial")
    chosen_on, known = _chosen_on(model, rows, labels)
    if not isinstance(allowed, AllowedDrop):
        allowed = AllowedDrop(metric_for(model, known), allowed)
    mixes = Mixes(float_source(model), calibration, switches, among)
    half = _half(mixes) if allowed.metric == "sqnr" else None
    search = _Search(mixes, chosen_on, _judge(mixes.model, half, chosen_on, known, allowed), on_trial, among)
    choice = _choice(search, search.best(), half)
    found = choice.quantized
    return replace(choice, quantized=found._replace(model=with_test_vectors(found.model, mixes.sample, test_vectors)))


def _choice(search: _Search, best: Trial, half: Model | None, refused: tuple[Trial, ...] = ()) -> Choice:
    """What was taken, made once more, with the ladder in its metadata."""
    found, trials = search.mixes.made(tuple(best.layers.items())), tuple(search.trials.values())
    choice = Choice(found, best, trials, search.judge, search.mixes.model, half, search, refused)
    noted = replace(found.model, metadata={**found.model.metadata, "precision_ladder": choice.ladder()})
    return replace(choice, quantized=found._replace(model=noted))


def _checked_keep(model: Model, keep: Mapping[str, str], among: Sequence[str]) -> dict[str, str]:
    for name, precision in keep.items():
        if precision not in among:
            raise QuantizationError(
                f"keep[{name!r}] is {precision!r}, which these files do not hold, expected one of {', '.join(among)}"
            )
    return checked_keep(model, "auto", keep)


def mix_text(layers: dict[str, str]) -> str:
    """The precision that most layers have, and those that have another."""
    precisions = list(layers.values())
    base = max(dict.fromkeys(precisions), key=precisions.count)
    others = {name: precision for name, precision in layers.items() if precision != base}
    return f"{base} with {kept_note(others)['kept_layers']}" if others else base


def _half(mixes: Mixes) -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizationWarning)  # that weights become 0 is part of what it gives
        return mixes.uniform("float16").model


def _judge(
    model: Model, half: Model | None, rows: NDArray[np.float32], labels: NDArray[Any] | None, allowed: AllowedDrop
) -> DropJudge:
    reference = None if half is None else judged_answers(half, rows, allowed.metric)
    return DropJudge(model, judged_answers(model, rows, allowed.metric), labels, allowed, reference, activated=False)


def _chosen_on(model: Model, rows: ArrayLike, labels: ArrayLike | None) -> tuple[NDArray[np.float32], Any]:
    """At most MOST_CHOSEN_ON of them, with their labels, checked."""
    found = as_inputs(model, rows, "rows to choose on")
    if found.ndim != 2 or found.shape[1] != model.n_in or len(found) == 0:
        raise InputError(f"rows to choose on have shape {found.shape}, expected (n, {model.n_in}), at least one")
    known = checked_labels(model, labels, len(found))
    few = spread_places(len(found), MOST_CHOSEN_ON)
    with np.errstate(over="ignore"):
        kept = found[few].astype(np.float32)
    bad = first_not_finite(kept, found[few])
    if bad is not None:
        row, column = bad.place
        raise InputError(
            f"rows to choose on: row {few[row]}, feature {column} is {bad.found}, expected numbers of float32; remove "
            "the row, or fill the value in"
        )
    return kept, None if known is None else known[few]


class _Search:
    """Goes down from the first uniform precision that is within the drop. trials: all that was measured, by mix."""

    def __init__(
        self, mixes: Mixes, rows: NDArray[np.float32], judge: DropJudge, on_trial: OnTrial, among: Sequence[str]
    ) -> None:
        self.judge, self.trials, self._ladder = judge, dict[Mix, Trial](), tuple(among)
        self.mixes, self._rows, self._on_trial = mixes, rows, on_trial
        self._all = [layer.name for layer in mixes.model.layers if not isinstance(layer, Stage)]
        self._names = [name for name in self._all if name not in mixes.keep]  # that are chosen for
        self._left = MOST_TRIALS

    def best(self) -> Trial:
        """The smallest that was found within the drop: float32 at the worst."""
        ladder = self._ladder
        first = next((at for at, precision in enumerate(ladder) if self._uniform(precision).is_within), None)
        if first is None:
            raise self._kept_too_low()
        found = [self._uniform(ladder[first])]
        if first > 0 and len(self._names) > 1:
            starts = range(first, max(first + 1, ladder.index("float16") + 1))
            found += [trial for at in starts for trial in self._below(ladder[at], ladder[:at])]
        return min(found, key=self._cost)

    def below(self, most: float, refused: Sequence[Trial]) -> Trial | None:
        """The smallest that needs no more than `most` to be allowed, else a whole network in floats; none twice."""
        floats = [self._uniform(precision) for precision in self._ladder if precision in FLOATS]
        left = [trial for trial in self.trials.values() if trial.is_within and trial not in refused]
        found = min((trial for trial in left if trial.most <= most), key=self._cost, default=None)
        return found or next((trial for trial in floats if trial in left), None)

    def is_uniform(self, trial: Trial) -> bool:
        """Whether all layers that are chosen for have one precision."""
        return len({trial.layers[name] for name in self._names}) == 1

    def _kept_too_low(self) -> QuantizationError:
        best = min((trial for trial in self.trials.values()), key=lambda trial: trial.most)
        kept, allowed = kept_note(self.mixes.keep)["kept_layers"], self.judge.allowed
        found = "cannot be made" if best.drop is None else f"has a drop of {best.figure}"
        return QuantizationError(
            f"with {kept} kept, the best of the other layers' precisions ({best.text}) {found}, "
            f"{allowed.text(allowed.most)} allowed: allow more, or keep other layers"
        )

    def _uniform(self, precision: str) -> Trial:
        return self._measured(self._mix({**dict.fromkeys(self._names, precision), **self.mixes.keep}))

    def _below(self, precision: str, lower: Sequence[str]) -> list[Trial]:
        """From the whole network in one precision down, in two orders; nothing if it is not within the drop."""
        start = self._uniform(precision)
        if not start.is_within:
            return []
        orders = (self._names_by_size(), self._names_by_noise(start, lower))
        return [self._lowered(start, lower, names) for names in orders]

    def _lowered(self, start: Trial, lower: Sequence[str], names: Iterable[str]) -> Trial:
        """One layer after another as low as it goes, if that saves anything."""
        best = start
        for name in names:
            for precision in lower:
                trial = self._tried({**best.layers, name: precision})
                if trial is not None and trial.is_within and self._cost(trial) < self._cost(best):
                    best = trial
                    break
        return best

    def _names_by_size(self) -> list[str]:
        sizes = {layer.name: layer.macs for layer in self.mixes.model.layers}
        return sorted(self._names, key=lambda name: -sizes[name])

    def _names_by_noise(self, start: Trial, lower: Sequence[str]) -> list[str]:
        """Those first that add the least when they alone are as low as can be; what was not tried comes last."""
        alone = {name: self._tried({**start.layers, name: lower[0]}) for name in self._names}
        noises = {name: math.inf if trial is None else trial.noise for name, trial in alone.items()}
        return sorted(self._names, key=lambda name: noises[name])

    def _tried(self, layers: dict[str, str]) -> Trial | None:
        """The trial of a mix, which may have been made before; None once there were enough of them."""
        mix = self._mix(layers)
        if mix not in self.trials:
            if self._left == 0:
                return None
            self._left -= 1
        return self._measured(mix)

    def _measured(self, mix: Mix) -> Trial:
        if mix not in self.trials:
            self.trials[mix] = self._trial(mix)
            if self._on_trial is not None:
                self._on_trial(self.trials[mix])
        return self.trials[mix]

    def _trial(self, mix: Mix) -> Trial:
        with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
            warnings.simplefilter("ignore", QuantizationWarning)  # what is chosen says it once more
            try:
                small = self.mixes.made(mix).model
            except QuantizationError as error:
                return Trial(dict(mix), 0, None, math.inf, False, self.judge.allowed.unit, str(error))
            outputs = judged_answers(small, self._rows, self.judge.allowed.metric)
        judge = self.judge
        return Trial(
            dict(mix), weight_bytes(small), judge.drop(outputs), judge.noise(outputs), judge.is_within(outputs),
            judge.allowed.unit,
            reserve=judge.reserve(outputs), target=judge.worst_target(outputs),
        )  # fmt: skip

    def _cost(self, trial: Trial) -> tuple[int, int, int]:
        """Bytes; then multiply-accumulates in floats, then those with inputs of 16 bits."""
        macs = {layer.name: layer.macs for layer in self.mixes.model.layers}
        floats = sum(macs[name] for name, precision in trial.layers.items() if precision.startswith("float"))
        wide = sum(macs[name] for name, precision in trial.layers.items() if precision.endswith("a16"))
        return trial.bytes, floats, wide

    def _mix(self, layers: dict[str, str]) -> Mix:
        return tuple((name, layers[name]) for name in self._all)
