"""What a diagnosis says: a table by layer, the worst first, what was tried, and one sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edge_runtime.console import wrapped
from edge_runtime.files import fit_table
from export.diagnosis.answers import Answers
from export.diagnosis.findings import Finding
from export.diagnosis.layer_errors import LayerErrors
from export.diagnosis.losses import decibels, gained
from export.diagnosis.remedies import Remedy

REPORT_WIDTH = 100
_COLUMNS = {
    "layer": "layer",
    "weights": "weights",
    "behind": "behind",
    "here": "here",
    "inherited": "inherited",
    "alone": "alone",
    "cosine": "cosine",
    "clipped": "clipped",
    "codes": "codes",
    "float16": "float16",
    "float32": "float32",
}
_LEFT_OUT = ("cosine", "float32")
_ALSO_LEFT_OUT = (*_LEFT_OUT, "weights", "behind", "codes")
LEGEND = (
    "Decibels (signal to noise) of the weights; of the values behind the layer; of the error made here, on exact "
    "inputs; of the error inherited, by the float layer; of the outputs if this layer alone is small{alike}. Then "
    "clipped values, codes used, and {won} won back at the outputs if this layer alone stays float16 or float32. "
    "The other layers stay as they are for that; --keep makes them anew."
)


@dataclass(frozen=True)
class Diagnosis:
    """How a smaller network answers beside the float one, layer by layer, and what helps.

    precision: of the smaller one. rows: how many were looked at. float_answers, small_answers: of both networks.
    layers: those with weights, the most damaged first: such in which something was found, then by the error that each
    makes at the outputs by itself. findings: what is wrong with layers in themselves. worst: the name of the layer to
    begin with, "input" if rows are standardized otherwise, or None if there is nothing to mend. remedies: what was
    tried. verdict: one sentence.
    notes: what to know of the rows. rows_in_all: those that could have been looked at, in bounded memory fewer are.
    """

    precision: str
    rows: int
    float_answers: Answers
    small_answers: Answers
    layers: tuple[LayerErrors, ...]
    findings: tuple[Finding, ...]
    worst: str | None
    remedies: tuple[Remedy, ...]
    verdict: str
    notes: tuple[str, ...] = ()
    rows_in_all: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is nothing to mend."""
        return self.worst is None

    def __repr__(self) -> str:
        """In one line."""
        worst = "nothing to mend" if self.worst is None else f"worst layer {self.worst[:40]!r}"
        return f"Diagnosis({self.precision}, {len(self.layers):,} layers, {self.rows:,} rows, {worst})"

    def __str__(self) -> str:
        """The table, at most `REPORT_WIDTH` letters wide, and the sentence."""
        return f"{self.table(REPORT_WIDTH)}\n\n{wrapped(self.verdict, REPORT_WIDTH)}"

    def table(self, width: int | None = None) -> str:
        """The layers, and what was tried. width: letters that a line may have, None for any number."""
        rows = [_row(layer, self.small_answers) for layer in self.layers]
        few = [{key: _COLUMNS[key] for key in _COLUMNS if key not in left} for left in (_LEFT_OUT, _ALSO_LEFT_OUT)]
        tried = [_tried(remedy, self.small_answers) for remedy in self.remedies]
        lines = [_legend(self.small_answers), *tried]
        return "\n".join([fit_table(rows, width, _COLUMNS, *few), *(wrapped(text, width) for text in lines)])

    def as_dict(self) -> dict[str, Any]:
        """As plain data; a figure that is not finite is None."""
        return {
            "ok": self.ok,
            "verdict": self.verdict,
            "worst": self.worst,
            "precision": self.precision,
            "rows": self.rows,
            "rows_in_all": self.rows_in_all,
            "float": self.float_answers.as_dict(),
            "small": self.small_answers.as_dict(),
            "layers": [layer.as_dict() for layer in self.layers],
            "findings": [vars(finding) for finding in self.findings],
            "remedies": [remedy.as_dict() for remedy in self.remedies],
            "notes": list(self.notes),
        }


def _legend(small: Answers) -> str:
    """What the columns count here."""
    won = "decibels" if small.changed is None else "decisions" if small.right is None else "right answers"
    return LEGEND.format(alike="" if small.even_db is None else ", each target counting alike", won=won)


def _row(layer: LayerErrors, small: Answers) -> dict[str, str]:
    """A line of the table."""
    return {
        "layer": layer.name,
        "weights": _short(layer.weights_db),
        "behind": _short(layer.behind_db),
        "here": _short(layer.here_db),
        "inherited": _short(layer.inherited_db),
        "alone": _short(layer.alone.judged_db),
        "cosine": f"{layer.cosine:.5f}",
        "clipped": f"{layer.clipped:.2%}" if layer.grids else "-",
        "codes": _codes(layer),
        **{name: _won(small, kept) for name, kept in layer.kept.items()},
    }


def _short(value: float) -> str:
    """Decibels; "same" if nothing differs, "-inf" if nothing is left."""
    return f"{value:.1f}" if math.isfinite(value) else "same" if value > 0 else "-inf"


def _codes(layer: LayerErrors) -> str:
    """Of the grid of the outputs, or the last that there is."""
    return f"{layer.grids[-1].used:,}/{layer.grids[-1].of:,}" if layer.grids else "-"


def _won(small: Answers, kept: Answers | None) -> str:
    """Decisions, or decibels for values."""
    if kept is None:
        return "-"
    if small.right is not None and kept.right is not None:
        return f"{kept.right - small.right:+,}"
    if small.changed is not None and kept.changed is not None:
        return f"{small.changed - kept.changed:+,}"
    difference = kept.judged_db - small.judged_db
    return f"{difference:+.1f} dB" if math.isfinite(difference) else decibels(kept.judged_db)


def _tried(remedy: Remedy, small: Answers) -> str:
    """A line for each."""
    if not remedy.is_tried:
        return f"not tried, {remedy.what}: {remedy.option}"
    said = f"not possible: {remedy.refused}" if remedy.answers is None else gained(small, remedy.answers)
    return f"tried {remedy.option}: {said}"
