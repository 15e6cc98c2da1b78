"""`smallnet export` of an artifact that is small already: it is written as ONNX as it is, once both were compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_runtime.console import Progress, cap, check_folder, check_output, note, say
from edge_runtime.files import fit_table, make_folder, write_together
from edge_runtime.model import Model
from export.commands.data import rows_for_export
from export.commands.export_files import ExportOptions
from export.commands.pipeline import LabeledRows
from export.onnx_writer import has_int4, int4_doubts, to_onnx
from export.verification import Report, check_opset, verify_content
from trainer.datasets import files_of


def write_as_onnx(
    model: Model,
    path: str,
    spec: str | None,
    chosen: ExportOptions,
    options: dict[str, Any],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Write STEM.onnx of the artifact in `path` if both give the same, and say so; what was written, as plain data.

    spec: the data to compare them on, random rows for None. options: of the command. facts: of C files that were
    written too. Raises ArtifactError, QuantizationError, OutputRefused, OSError.
    """
    check_opset(chosen.form, chosen.opset, portable=chosen.portable, is_int4=has_int4(model))
    target = Path(options["out"]) / f"{Path(path).name.removesuffix('.npz')}.onnx"
    check_folder(options["out"])
    if target.parent.is_dir():
        sources: list[str | Path] = [path, *(files_of(spec) if spec else [])]
        check_output(target, "onnx", force=options["force"], sources=sources)
    rows = rows_for_export(model, spec, **cap(options["max_bytes"]))
    said = rows.note if spec is not None else f"no data given: compared on {len(rows.compared):,} random rows"
    if said:
        note(said)
    proto = to_onnx(model, chosen.form, opset=chosen.opset, portable=chosen.portable)
    content = proto.SerializeToString(deterministic=True)
    with Progress("verifying") as on_rows:
        report = verify_content(
            model, content, target, rows.compared, on_rows=on_rows, run_limits=options["run_limits"]
        )
    if report.ok:
        make_folder(target.parent)
        write_together({target: content})
        for text in int4_doubts(proto):
            note(text)
    else:
        broken = f"{report.differing:,} values break their rule, first at {report.first_diverging_layer}"
        say(f"error: {model.precision}: {broken}; not written")
    judged = None if rows.test is None else LabeledRows(*rows.test, names=rows.names)
    return _with_onnx(facts, model, target, len(content), report, judged) | {"note": said}


def _with_onnx(
    facts: dict[str, Any], model: Model, target: Path, size: int, report: Report, judged: LabeledRows | None
) -> dict[str, Any]:
    scores = None if judged is None else judged.scores(model)
    exported = facts["exported"][0] | {
        "onnx": str(target) if report.ok else None,
        "onnx_bytes": size,
        "score": None if scores is None else scores.value,
        "verified": report.ok,
        "rows_compared": report.rows,
        "values_compared": sum(check.compared for check in report.checks),
        "values_differing": report.differing,
        "max_abs_error": report.max_abs_error,
        "session_config": dict(report.session_config),
    }
    return {**facts, "score": None if judged is None else judged.score_name, "exported": [exported]}


def as_it_is_text(facts: dict[str, Any], width: int | None = None) -> str:
    """The files and their sizes, and how ONNX compared, if it was written. width: letters that a line may have."""
    (exported,) = facts["exported"]
    files = [*([exported["onnx"]] if exported["onnx"] else []), *exported["c"]]
    rows = [{"file": file, "bytes": f"{Path(file).stat().st_size:,}"} for file in files]
    lines = [fit_table(rows, width, {"file": "file", "bytes": "bytes"})] if rows else []
    if "verified" in exported:
        compared = f"{exported['values_differing']:,} of {exported['values_compared']:,} values break their rule"
        lines.append(f"{'ok' if exported['verified'] else 'FAILED'}: {exported['rows_compared']:,} rows, {compared}")
    if exported.get("score") is not None:
        lines.append(f"{facts['score']} {exported['score']:.4f} on rows that were held out")
    return "\n".join(lines)
