"""What came of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_runtime.files import printable, shortened
from export.verification.comparison import SAME_BITS, TensorCheck

ENGINE = "engine"  # the level under which the engine's own logits are listed


@dataclass(frozen=True)
class Report:
    """All checks of one verification, in the order of the tensors, level after level.

    form: the ONNX form, "foreign" for a file that this project did not write, "dumps" for a device's outputs.
    decisions_changed: rows whose class differs. max_abs_error: the largest difference of a final output.
    session_config: the options that the file states and onnxruntime ran with, names and values. notes: what was
    allowed for, a line each. skipped: levels that were asked for and not run, because the file gives other answers
    there on some processors.
    """

    form: str
    rows: int
    checks: tuple[TensorCheck, ...]
    decisions_changed: int
    max_abs_error: float
    session_config: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The verdict in one line; `checks` holds every tensor."""
        verdict = (
            "ok" if self.ok else f"FAILED, first at {printable(shortened(self.first_diverging_layer or 'nothing', 24))}"
        )
        compared = sum(check.compared for check in self.checks)
        return (
            f"Report({self.form}, {verdict}: {self.rows:,} rows, {len(self.checks):,} checks, "
            f"{self.differing:,} of {compared:,} values differ, {self.decisions_changed:,} decisions changed)"
        )

    @property
    def differing(self) -> int:
        """Values, over all tensors and levels, that break their rule."""
        return sum(check.differing for check in self.checks)

    @property
    def ok(self) -> bool:
        """Whether every value keeps its rule, and something was compared at all: the engine beside us is no proof."""
        return self.differing == 0 and self.compared_elsewhere > 0

    @property
    def compared_elsewhere(self) -> int:
        """Values of another engine, or of a device, that were compared."""
        return sum(check.compared for check in self.checks if check.level != ENGINE)

    @property
    def exact_compared(self) -> int:
        """Values of int8 layers and logits that were compared bit for bit."""
        return sum(check.compared for check in self._exact)

    @property
    def exact_differing(self) -> int:
        """Those of `exact_compared` that are not the same."""
        return sum(check.differing for check in self._exact)

    @property
    def _exact(self) -> list[TensorCheck]:
        """Without preprocessing, which is no int8 value, and "output", which compares onnxruntime with itself."""
        beside = ("input.standardized", "output")
        return [check for check in self.checks if check.rule == SAME_BITS and check.tensor not in beside]

    @property
    def first_diverging_layer(self) -> str | None:
        """The first tensor that breaks its rule."""
        return next((check.tensor for check in self.checks if check.differing), None)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "ok": self.ok,
            "form": self.form,
            "rows": self.rows,
            "differing": self.differing,
            "decisions_changed": self.decisions_changed,
            "max_abs_error": self.max_abs_error,
            "first_diverging_layer": self.first_diverging_layer,
            "session_config": dict(self.session_config),
            "notes": list(self.notes),
            "skipped_levels": list(self.skipped),
            "checks": [{**vars(check), "max_real_error": check.max_real_error} for check in self.checks],
        }
