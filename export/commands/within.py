"""`smallnet export --precision auto`: rows to choose precisions on, and the check of what is to be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_runtime.artifact import load_bytes
from edge_runtime.files import printable
from export.quantization import LADDER, AllowedDrop, Choice, Trial, finite, judged_answers
from export.verification import make_session

AUTO = "auto"  # in the place of a precision
MOST_CHECKED = 4  # choices that are checked on the same rows, one after another, until one holds
_BLOCK = 1024  # rows that onnxruntime takes at once


class JudgedRows(NamedTuple):
    """x: float32 (n, n_in). y: classes (n,), targets (n, k), or None where no labels fit the model."""

    x: Any
    y: Any


@dataclass(frozen=True)
class Within:
    """What a choice is told: how much may be lost, the rows that it is made on, and others that it is checked on.

    metric: None for what the labels allow. names: of the targets, for messages.
    """

    max_drop: float
    metric: str | None
    chosen_on: JudgedRows
    checked: JudgedRows
    names: tuple[str, ...] = ()

    @property
    def allowed(self) -> AllowedDrop | float:
        """As `choose_within` takes it. Raises QuantizationError for a drop that makes no sense."""
        return self.max_drop if self.metric is None else AllowedDrop(self.metric, self.max_drop)

    @property
    def is_apart(self) -> bool:
        """Whether the check sees other rows than the choice: not where there are too few."""
        return self.checked.x is not self.chosen_on.x


@dataclass(frozen=True)
class WrittenCheck:
    """The drop of both files as they are written, in the unit of `allowed`.

    measured: what it is of. is_apart: whether the choice did not see the rows; it did where there were too few. worst:
    the target whose error grows most, where the drop is that of one of several, or "". refused: how many choices did
    not hold before on the same rows.
    """

    rows: int
    measured: str
    artifact_drop: float
    onnx_drop: float
    allowed: AllowedDrop
    is_apart: bool
    worst: str = ""
    refused: int = 0

    @property
    def excess(self) -> float:
        """How much more is lost than is allowed, in the unit of the drop."""
        return max(self.artifact_drop, self.onnx_drop) - self.allowed.most

    @property
    def ok(self) -> bool:
        """Whether both are allowed."""
        return self.allowed.allows(self.artifact_drop) and self.allowed.allows(self.onnx_drop)

    def as_dict(self) -> dict[str, Any]:
        """As plain data; a drop is None where all is lost."""
        drops = {"artifact_drop": finite(self.artifact_drop), "onnx_drop": finite(self.onnx_drop)}
        seen = {"rows": self.rows, "is_apart": self.is_apart, "worst": self.worst, "refused_before": self.refused}
        return {"ok": self.ok, **seen, **drops, "text": check_text(self)}


def precisions_for(form: str, formats: Sequence[str]) -> tuple[str, ...]:
    """Those that a layer can have in files of this form and these formats, from the fewest bytes to the most.

    Codes of more than 8 bits are written in the form integer, and not as C.
    """
    has_wide_codes = form == "integer" and set(formats) <= {"onnx"}
    return tuple(name for name in LADDER if has_wide_codes or not name.endswith("a16"))


def check_files(
    choice: Choice, within: Within, artifact: bytes, onnx_model: onnx.ModelProto, config: tuple[tuple[str, str], ...]
) -> WrittenCheck:
    """Load both files and judge what they answer. config: session options that the ONNX file needs."""
    rows = within.checked.x
    judge, of_outputs = choice.judge_on(rows, within.checked.y), choice.judge_of_outputs(rows, within.checked.y)
    session = make_session(onnx_model, config=config)
    name = session.get_inputs()[0].name
    found = [session.run(None, {name: rows[at : at + _BLOCK]})[0] for at in range(0, len(rows), _BLOCK)]
    ours = judged_answers(load_bytes(artifact), rows, judge.allowed.metric)
    drops = judge.drop(ours), of_outputs.drop(np.concatenate(found))
    worst = target_text(judge.worst_target(ours), within.names)
    return WrittenCheck(
        len(rows), judge.described, *drops, judge.allowed, within.is_apart, worst, refused=len(choice.refused)
    )


def trial_text(trial: Trial, names: Sequence[str] = ()) -> str:
    """One candidate, as the command tells of it. names: of the targets."""
    if trial.drop is None:
        return f"auto: {trial.text}: refused, {trial.refused}"
    worst = target_text(trial.target, names)
    drop = f"{trial.figure} ({worst})" if worst else trial.figure
    return f"auto: {trial.text}: {trial.bytes:,} bytes of weights, drop {drop}{', within' if trial.is_within else ''}"


def target_text(target: int | None, names: Sequence[str]) -> str:
    """The name of an output, or its number; "" for None."""
    if target is None:
        return ""
    return f"'{printable(names[target])}'" if target < len(names) else f"output {target}"


def choice_facts(choice: Choice) -> dict[str, Any]:
    """What was allowed, tried and chosen, as plain data."""
    allowed = choice.judge.allowed
    return {
        "metric": allowed.metric,
        "unit": allowed.unit,
        "max_drop": allowed.most,
        "measured": choice.judge.described,
        "rows": choice.judge.rows,
        "trials": [trial.as_dict() for trial in choice.trials],
    }


def check_text(check: WrittenCheck) -> str:
    """The check in a sentence."""
    allowed = check.allowed
    seen = "that the choice did not see" if check.is_apart else "of the choice, too few to keep some apart"
    drops = f"{allowed.text(check.artifact_drop)} in the artifact and {allowed.text(check.onnx_drop)} in ONNX"
    measured = f"{check.measured} ({check.worst})" if check.worst else check.measured
    return f"a drop of {drops}, {allowed.text(allowed.most)} allowed: {measured} {seen}"


def rows_apart(x: NDArray[Any], y: Any) -> tuple[JudgedRows, JudgedRows]:
    """Rows held out, cut in two: every second to choose on, the others to check on; all for both if they are few."""
    if len(x) < 2:
        return (both := JudgedRows(x, y)), both
    odd = np.arange(len(x)) % 2 == 1
    return tuple(JudgedRows(x[part], None if y is None else y[part]) for part in (~odd, odd))  # type: ignore[return-value]
