"""What the commands print: results as plain data in, text out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_runtime.console import is_quiet, typed_path, typed_program, wrapped
from edge_runtime.files import fit_table, printable
from edge_runtime.model import weight_bytes
from export.commands.pipeline import Exported
from export.commands.within import choice_facts
from export.onnx_reader import Imported
from export.quantization import finite
from export.verification import Report, TensorCheck


def export_facts(
    before: dict[str, Any], score_name: str | None, results: list[Exported], note: str = ""
) -> dict[str, Any]:
    """The result of an export as plain data.

    before: file, precision, bytes and score of the model it started from. note: about the rows.
    """
    warnings = [text for result in results for text in result.warnings]
    exported = [_exported(result) for result in results]
    return {"before": before, "score": score_name, "exported": exported, "note": note, "warnings": warnings}


def export_table(facts: dict[str, Any], width: int | None = None) -> str:
    """Sizes, scores and verification of each precision, under the model before; columns are called as in the JSON.

    "weights B" are the bytes of weights, biases, grids and tables, without what a file has around them.
    "sqnr dB" and "decisions changed" are beside float32 on held-out rows, "max abs error" is of the file in onnxruntime
    beside the artifact. Of a mixed model each layer's precision is said below. width: letters that a line may have,
    None for any number; so in all functions here.
    """
    before = facts["before"]
    first = {"precision": f"{before['precision']} (before)", "npz": f"{before['bytes']:,}", "onnx": "-"}
    first |= {"weights": f"{before['weight_bytes']:,}"}
    first |= {"score": _score(before["score"]), "changed": "-", "sqnr": "-", "error": "-", "verified": "-"}
    rows = [
        {
            "precision": row["precision"],
            "npz": f"{row['artifact_bytes']:,}",
            "weights": f"{row['weight_bytes']:,}",
            "onnx": "-" if row["onnx"] is None else f"{row['onnx_bytes']:,}",
            "score": _score(row["score"]),
            "changed": "-" if row["decisions_changed"] is None else row["decisions_changed"],
            "sqnr": _decibels(row),
            "error": f"{row['max_abs_error']:.1e}",
            "verified": "yes" if row["verified"] else "NO",
        }
        for row in facts["exported"]
    ]
    columns = {"precision": "precision", "npz": ".npz bytes", "onnx": ".onnx bytes", "weights": "weights B"}
    columns |= {
        "score": facts["score"] or "score",
        "sqnr": "sqnr dB",
        "changed": "decisions changed",
        "error": "max abs error",
        "verified": "verified",
    }
    narrow = {
        **columns,
        "npz": ".npz B",
        "onnx": ".onnx B",
        "changed": "changed",
        "error": "max error",
        "verified": "ok",
    }
    if facts["score"] is None:
        del columns["score"], narrow["score"]
    left_out = [("weights",), ("weights", "error"), ("weights", "error", "sqnr")]
    narrower = [_without(narrow, *names) for names in left_out]
    table = fit_table([first, *rows], width, columns, narrow, *narrower)
    texts = [text for row in facts["exported"] for text in (_mixed_text(row), _check_text(row)) if text]
    return "\n".join([table, *(wrapped(text, width) for text in texts)])


def _mixed_text(row: dict[str, Any]) -> str:
    """Which layers have which precision, if it is not one for all: "int8, mixed: int8 dense0; float16 dense1"."""
    names: dict[str, list[str]] = {}
    for name, precision in row["layers"].items():
        names.setdefault(precision, []).append(printable(name))
    if len(names) < 2:
        return ""
    parts = [f"{each} {', '.join(found)}" for each, found in names.items()]
    return f"{row['precision']}, mixed: {'; '.join(parts)}"


def _check_text(row: dict[str, Any]) -> str:
    """What came of the check of a precision that was chosen."""
    return "" if row["check"] is None else f"{row['precision']}: {row['check']['text']}"


def import_facts(source: Imported, reports: dict[str, Report], out: str | None) -> dict[str, Any]:
    """What was imported and how it compares. reports: by the name of the rows. out: None if nothing was written."""
    model = source.model
    layers = [
        {
            "name": layer.name,
            "shape": [layer.n_in, layer.n_out],
            "precision": layer.precision,
            "activation": str(layer.activation),
        }
        for layer in model.layers
    ]
    return {
        "ok": all(report.ok for report in reports.values()),
        "file": out,
        "output": source.output,
        "dropped_outputs": list(source.dropped),
        "layers": layers,
        "standardized": model.preprocessing is not None,
        "class_names": list(model.class_names),
        "checks": {name: report.as_dict() for name, report in reports.items()},
    }


def import_table(facts: dict[str, Any], width: int | None = None, verdict_width: int | None = None) -> str:
    """The layers, and the comparison and the file written, which have a width of their own."""
    rows = [{**entry, "shape": "-".join(map(str, entry["shape"]))} for entry in facts["layers"]]
    columns = {"name": "layer", "shape": "shape", "precision": "weights", "activation": "activation"}
    return f"{fit_table(rows, width, columns)}\n\n{wrapped(_findings(facts), verdict_width)}"


def _findings(facts: dict[str, Any]) -> str:
    lines = []
    if facts["dropped_outputs"]:
        dropped = ", ".join(f"'{name}'" for name in facts["dropped_outputs"])
        lines.append(printable(f"output '{facts['output']}' was taken, and not {dropped}"))
    for name, report in facts["checks"].items():
        verdict = (
            "agree with onnxruntime" if report["ok"] else f"{report['differing']:,} OUTPUTS DIFFER from onnxruntime"
        )
        lines.append(f"{report['rows']:,} rows ({name}): {verdict}, largest difference {report['max_abs_error']:.2g}")
    lines.append(f"wrote {facts['file']}" if facts["file"] else "nothing was written")
    return "\n".join(lines)


def method_text(decibels: dict[str, float]) -> str:
    """What `--method auto` took, what the plainest way gives, and how many were tried."""
    plainest = next(iter(decibels))
    best = max(decibels, key=lambda name: decibels[name])
    return (
        f"calibration: {best}: {decibels[best]:.1f} dB, the best of {len(decibels)} ways on held-out rows; "
        f"{plainest} alone gives {decibels[plainest]:.1f} dB"
    )


def report_table(report: Report, width: int | None = None, verdict_width: int | None = None) -> str:
    """Every tensor of a verification, and the verdict, which has a width of its own."""
    rows = [
        {
            "level": check.level,
            "tensor": check.tensor,
            "rule": check.rule,
            "compared": f"{check.compared:,}",
            "differing": check.differing,
            "error": _difference(check),
            "bound": f"{check.largest_bound:.2g}",
        }
        for check in report.checks
    ]
    columns = {"level": "level", "tensor": "tensor", "rule": "rule", "compared": "compared", "differing": "differing"}
    columns |= {"error": "largest difference", "bound": "allowed"}
    rows = [{**row, "kind": str(row["rule"]).removeprefix("same ").removeprefix("within ")} for row in rows]
    narrow = {"level": "level", "tensor": "tensor", "kind": "rule", "compared": "compared", "differing": "differ"}
    narrow |= {"error": "largest", "bound": "allowed"}
    table = fit_table(rows, width, columns, narrow, _without(narrow, "kind", "bound"))
    return f"{table}\n\n{wrapped(_verdict(report), verdict_width)}"


def _verdict(report: Report) -> str:
    verdict = "ok" if report.ok else f"FAILED, {_failure(report)}"
    lone = sum(check.lone_nans for check in report.checks)
    nans = f", {lone:,} are NaN on one side alone" if lone else ""
    verdict += f": {report.rows:,} rows, {report.differing} values break their rule{nans}, "
    return f"{verdict}{report.decisions_changed} decisions changed{_ran_with(report)}"


def _failure(report: Report) -> str:
    first = report.first_diverging_layer
    return f"first at {printable(first)}" if first is not None else "nothing of the file was compared"


def _ran_with(report: Report) -> str:
    """The session options that the file needs, which a user has to give too."""
    options = ", ".join("=".join(pair) for pair in report.session_config)
    return f"\nonnxruntime ran with {options}; without it products may saturate on x86 without VNNI" if options else ""


def demo_table(rows: list[dict[str, Any]], width: int | None = None) -> str:
    """One line for each precision of the demo."""
    shown = [
        {
            "precision": row["precision"],
            "npz": f"{row['artifact_bytes']:,}",
            "onnx": f"{row['onnx_bytes']:,}",
            "accuracy": f"{row['test_accuracy']:.4f}",
            "error": f"{row['max_abs_error']:.1e}",
            "differing": _differing(row),
            "numpy": f"{row['numpy_us']:.1f}",
            "onnxruntime": f"{row['onnxruntime_us']:.1f}",
        }
        for row in rows
    ]
    columns = {"precision": "precision", "npz": ".npz bytes", "onnx": ".onnx bytes", "accuracy": "test accuracy"}
    columns |= {"error": "max abs error", "differing": "int8 layers differing"}
    columns |= {"numpy": "NumPy us", "onnxruntime": "onnxruntime us"}
    narrow = {**columns, "npz": ".npz B", "onnx": ".onnx B", "accuracy": "accuracy", "error": "max error"}
    narrow |= {"differing": "int8 differ", "onnxruntime": "ORT us"}
    return fit_table(shown, width, columns, narrow, _without(narrow, "npz", "onnx", "error"))


def demo_files(rows: list[dict[str, Any]], out: str) -> str:
    """The files that the demo wrote, and the next command to try."""
    paths = [Path(out) / "digits.npz", *(Path(row[key]) for row in rows for key in ("artifact", "onnx"))]
    lines = [f"  {path}  {path.stat().st_size:,} bytes" for path in paths]
    int8 = next(row for row in rows if row["precision"] == "int8")
    following = [] if is_quiet() else ["", f"next: {typed_program()} inspect {typed_path(int8['artifact'])}"]
    return "\n".join(["files:", *lines, *following])


def _without(columns: dict[str, str], *keys: str) -> dict[str, str]:
    return {key: heading for key, heading in columns.items() if key not in keys}


def _exported(result: Exported) -> dict[str, Any]:
    return {
        "precision": result.precision,
        "layers": result.layers,
        "artifact": str(result.artifact),
        "onnx": None if result.onnx is None else str(result.onnx),
        "c": [str(path) for path in result.c],
        "artifact_bytes": result.artifact_bytes,
        "weight_bytes": weight_bytes(result.model),
        "onnx_bytes": result.onnx_bytes,
        "score": result.score,
        "scores": None if result.scores is None else result.scores.as_dict(),
        "held_out_rows": result.fidelity.rows,
        "sqnr_db": finite(result.fidelity.sqnr_db),
        "worst_output": result.fidelity.worst_output,
        "worst_output_db": None if (worst := result.fidelity.worst_output_db) is None else finite(worst),
        "decisions_changed": result.decisions_changed,
        "verified": result.report.ok,
        "values_compared": sum(check.compared for check in result.report.checks),
        "values_differing": result.report.differing,
        "max_abs_error": result.report.max_abs_error,
        "session_config": dict(result.report.session_config),
        "choice": None if result.choice is None else choice_facts(result.choice),
        "check": None if result.check is None else result.check.as_dict(),
        "warnings": list(result.warnings),
    }


def _decibels(row: dict[str, Any]) -> str:
    if row["sqnr_db"] is not None:
        return f"{row['sqnr_db']:.1f}"
    return "-" if row["warnings"] else "same"


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _difference(check: TensorCheck) -> str:
    """The largest difference; for a tensor of integers in steps and in real units. NaN where one side alone has it."""
    if check.lone_nans:
        return "NaN"
    if check.step is None or not check.max_abs_error:
        return f"{check.max_abs_error:.2g}"
    return f"{check.max_abs_error:.0f} steps = {check.max_real_error:.2g}"


def _differing(row: dict[str, Any]) -> str:
    if not row["int8_values_compared"]:
        return "-"
    return f"{row['int8_values_differing']} of {row['int8_values_compared']:,}"
