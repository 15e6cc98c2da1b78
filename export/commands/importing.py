"""One file of `smallnet import`: read, run beside onnxruntime, and written if both agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_runtime.artifact import save
from edge_runtime.layers import Elementwise, Layer, LayerNorm
from edge_runtime.model import Model
from edge_runtime.version import made_with
from export.onnx_reader import Imported
from export.onnx_writer import foreign_doubts, saturating_layers
from export.quantization import comparison_doubts, row_doubts, with_test_vectors
from export.verification import Report, RunLimits, random_rows, verify_import


@dataclass(frozen=True, eq=False)
class Checked:
    """A file beside what was read of it, on rows (n, n_in). are_real: they are of data, and not random."""

    source: Imported
    rows: NDArray[np.float32]
    reports: dict[str, Report]
    are_real: bool = False

    @property
    def model(self) -> Model:
        """What was read."""
        return self.source.model

    @property
    def ok(self) -> bool:
        """Whether every output agrees on all rows."""
        return all(report.ok for report in self.reports.values())

    def doubts(self) -> list[str]:
        """What to know of the model and of the comparison, a line each."""
        notes = dict.fromkeys(note for report in self.reports.values() for note in report.notes)
        of_rows = (comparison_doubts if self.are_real else row_doubts)(self.model, self.rows)
        return [*of_rows, *foreign_doubts(saturating_layers(self.source.int8_products)), *notes]

    def save(self, out: str, test_vectors: int) -> None:
        """Write the artifact, with as many of the rows as test vectors."""
        stated = replace(self.model, metadata={**self.model.metadata, **made_with()})
        save(with_test_vectors(stated, self.rows, test_vectors), out)


def checked(source: Imported, path: str, allowed: RunLimits) -> Checked:
    """The file beside the model on random rows. Raises as `verify_import`."""
    rows = random_rows(source)
    return Checked(
        source, rows, {"random": verify_import(source.model, path, rows, imported=source, run_limits=allowed)}
    )


def on_data(before: Checked, path: str, spec: str, rows: NDArray[np.float32], allowed: RunLimits) -> Checked:
    """The same on rows of data too. spec: what they are called."""
    report = verify_import(before.model, path, rows, imported=before.source, run_limits=allowed)
    return Checked(before.source, rows, {**before.reports, spec: report}, are_real=True)


def network_text(model: Model) -> str:
    """Precision, widths, stages without weights, activations: "int8 16-32-32-4 linear, LayerNorm relu, linear"."""
    sizes = "-".join(map(str, model.layer_sizes))
    return f"{model.precision} {sizes} {_in_turn([_stage_text(layer) for layer in model.layers])}"


def _stage_text(layer: Layer) -> str:
    """The activation of a dense layer; of a stage without weights its kind, and the activation that follows it."""
    if not isinstance(layer, Elementwise | LayerNorm):
        return str(layer.activation)
    kind = type(layer).__name__
    return kind if layer.activation.name == "linear" else f"{kind} {layer.activation}"


def _in_turn(names: Sequence[str]) -> str:
    """Names in their order, repetitions counted: "3 x relu, linear"."""
    parts: list[tuple[str, int]] = []
    for name in names:
        count = parts.pop()[1] + 1 if parts and parts[-1][0] == name else 1
        parts.append((name, count))
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in parts)
