"""The `smallnet` command: everything, from training to the verified file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime import cli as runtime_cli
from edge_runtime.cli import OneLineErrors, echo_json, json_option, print_table
from trainer import cli as trainer_cli

if TYPE_CHECKING:
    from edge_runtime.model import Model
    from export.pipeline import Exported
    from export.verification import Report
    from trainer.datasets import Dataset

_HELP = """Train small dense networks, shrink them to int8 or float16, prove that what runs is what was tested.

Try it: smallnet demo
"""


@click.group(cls=OneLineErrors, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="smallnet")
def main() -> None:  # noqa: D103  the help text above is its description
    pass


for _command in (trainer_cli.train, runtime_cli.run, runtime_cli.inspect, runtime_cli.selftest):
    main.add_command(_command)
main.add_command(runtime_cli.devices_command)


def require_extra(extra: str, *modules: str) -> None:
    """Fail with the command that installs an extra, where one of its modules is missing."""
    import importlib.util

    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"{' and '.join(missing)} not found, this command needs them; install: pip install 'smallnet[{extra}]'"
        )


@main.command()
@click.argument("model_path", metavar="MODEL.npz")
@click.option(
    "--precision", "precisions", multiple=True, help="float32, float16, int8 or all; may be given more than once."
)
@click.option(
    "--calibrate", "spec", help="Data whose training rows set the int8 grids: digits, .npz, .csv, IDX folder."
)
@click.option("--out", default="build", show_default=True, help="Folder for the files.")
@click.option("--test-vectors", default=8, show_default=True, help="Real rows stored for `selftest`.")
@json_option
def export(
    model_path: str, precisions: tuple[str, ...], spec: str | None, out: str, test_vectors: int, as_json: bool
) -> None:
    """Shrink a trained model, write .npz and .onnx, and verify the pair at once. Exit status 1 if that fails.

    Sizes and accuracy are printed beside those of the model before. Accuracy is taken on the rows that `train` held
    out: the data is split by the seed that the model remembers.

    Example: smallnet export digits.npz --precision int8 --calibrate digits --out build/
    """
    require_extra("export", "onnx", "onnxruntime")
    from edge_runtime.artifact import load
    from export.pipeline import Evaluation, export_model
    from trainer.datasets import load_dataset, split

    model = load(model_path)
    wanted = _precisions(precisions)
    if spec is None:
        raise click.UsageError("no data given, expected rows for the grids and for the check: add --calibrate digits")
    dataset = load_dataset(spec)
    check_width(model, dataset, spec)
    parts = split(dataset, seed=_seed(model))
    before = Evaluation(parts.test.x, parts.test.y) if _labels_fit(model, dataset) else None
    stem = Path(model_path).name.removesuffix(".npz")
    results = export_model(
        model,
        wanted,
        parts.train.x,
        out,
        stem,
        evaluation=before,
        verify_rows=dataset.x,
        test_vectors=test_vectors,
        on_file=None if as_json else lambda name: click.echo(f"wrote {name}", err=True),
    )
    facts = {
        "before": {
            "file": model_path,
            "precision": model.precision,
            "bytes": Path(model_path).stat().st_size,
            "score": None if before is None else before.score(model),
        },
        "score": None if before is None else before.score_name,
        "exported": [_exported(result) for result in results],
    }
    if as_json:
        echo_json(facts)
    else:
        _print_export(facts)
    if not all(result.report.ok for result in results):
        raise click.exceptions.Exit(1)


def _precisions(given: tuple[str, ...]) -> list[str]:
    from export.quantizer import PRECISIONS

    names = [name for value in given or ("int8",) for name in (PRECISIONS if value == "all" else (value,))]
    for name in names:
        if name not in PRECISIONS:
            raise click.UsageError(f"precision {name!r} found, expected one of {', '.join(PRECISIONS)} or all")
    return list(dict.fromkeys(names))


def check_width(model: Model, dataset: Dataset, spec: str) -> None:
    """Fail where the data's rows are not what the model takes."""
    if dataset.x.shape[1] != model.n_in:
        raise click.UsageError(
            f"{spec} has {dataset.x.shape[1]} features a row, the model takes {model.n_in}; "
            "give the data that it was trained on"
        )


def _labels_fit(model: Model, dataset: Dataset) -> bool:
    if dataset.y.ndim == 1:
        return int(dataset.y.max(initial=0)) < max(model.n_out, 2)
    return dataset.y.shape[1] == model.n_out


def _seed(model: Model) -> int:
    text = model.metadata.get("seed", "0")
    return int(text) if text.isdecimal() else 0


def _exported(result: Exported) -> dict[str, Any]:
    return {
        "precision": result.precision,
        "artifact": str(result.artifact),
        "onnx": str(result.onnx),
        "artifact_bytes": result.artifact_bytes,
        "onnx_bytes": result.onnx_bytes,
        "score": result.score,
        "decisions_changed": result.decisions_changed,
        "verified": result.report.ok,
        "values_compared": sum(check.compared for check in result.report.checks),
        "values_differing": result.report.differing,
        "max_abs_error": result.report.max_abs_error,
    }


def _print_export(facts: dict[str, Any]) -> None:
    before = facts["before"]
    rows = [
        {
            "precision": f"{before['precision']} (before)",
            "artifact_bytes": before["bytes"],
            "onnx_bytes": "",
            "score": before["score"],
        }
        | {"decisions_changed": "", "max_abs_error": "", "verified": ""}
    ]
    rows += facts["exported"]
    shown = [
        {
            "precision": row["precision"],
            "npz": f"{row['artifact_bytes']:,}",
            "onnx": f"{row['onnx_bytes']:,}" if row["onnx_bytes"] else "-",
            "score": "-" if row["score"] is None else f"{row['score']:.4f}",
            "changed": "-" if row["decisions_changed"] in (None, "") else row["decisions_changed"],
            "error": "-" if row["max_abs_error"] == "" else f"{row['max_abs_error']:.1e}",
            "verified": {True: "yes", False: "NO", "": "-"}[row["verified"]],
        }
        for row in rows
    ]
    columns = {"precision": "precision", "npz": ".npz bytes", "onnx": ".onnx bytes", "score": facts["score"] or "score"}
    print_table(
        shown,
        {**columns, "changed": "decisions changed", "error": "largest difference", "verified": "verified"},
    )


@main.command()
@click.argument("model_path", metavar="MODEL.npz")
@click.argument("onnx_path", metavar="MODEL.onnx")
@click.option(
    "--data", "spec", help="Rows to compare on: digits, .npz, .csv, IDX folder (default: stored test vectors)."
)
@json_option
def verify(model_path: str, onnx_path: str, spec: str | None, as_json: bool) -> None:
    """Compare every tensor of an artifact with its ONNX file in onnxruntime. Exit status 1 when a rule is broken.

    Two levels: onnxruntime's default, and with graph optimizations disabled. int8 tensors and logits must have the same
    bits; float layers must stay within a bound that follows from their weights.

    Example: smallnet verify build/digits.int8.npz build/digits.int8.onnx --data digits
    """
    require_extra("export", "onnx", "onnxruntime")
    from edge_runtime.artifact import load
    from export.verification import verify as compare
    from trainer.datasets import load_dataset

    model = load(model_path)
    rows = None
    if spec is not None:
        dataset = load_dataset(spec)
        check_width(model, dataset, spec)
        rows = dataset.x
    report = compare(model, onnx_path, rows)
    if as_json:
        echo_json(report.as_dict())
    else:
        _print_report(report)
    if not report.ok:
        raise click.exceptions.Exit(1)


def _print_report(report: Report) -> None:
    rows = [
        {
            "level": check.level,
            "tensor": check.tensor,
            "rule": check.rule,
            "compared": f"{check.compared:,}",
            "differing": check.differing,
            "error": f"{check.max_abs_error:.2g}",
            "bound": f"{check.largest_bound:.2g}",
        }
        for check in report.checks
    ]
    columns = {"level": "level", "tensor": "tensor", "rule": "rule", "compared": "compared", "differing": "differing"}
    print_table(rows, {**columns, "error": "largest difference", "bound": "allowed"})
    verdict = "ok" if report.ok else f"FAILED, first at {report.first_diverging_layer}"
    click.echo(
        f"\n{verdict}: {report.rows:,} rows, {report.differing} values break their rule, "
        f"{report.decisions_changed} decisions changed"
    )


@main.command()
@click.option("--out", default="smallnet-demo", show_default=True, help="Folder for the files.")
@click.option("--seed", default=0, show_default=True, help="Seed of the split and of the training.")
@json_option
def demo(out: str, seed: int, as_json: bool) -> None:
    """Run the whole chain on the bundled digits: train, export three precisions, verify, time. Under a minute.

    Example: smallnet demo
    """
    require_extra("export", "onnx", "onnxruntime")
    from export.demo import run_demo

    rows = run_demo(out, seed, lambda text: click.echo(text, err=True))
    if as_json:
        echo_json({"rows": rows})
    else:
        _print_demo(rows, out)
    if not all(row["verified"] for row in rows):
        raise click.exceptions.Exit(1)


def _print_demo(rows: list[dict[str, Any]], out: str) -> None:
    shown = [
        {
            "precision": row["precision"],
            "npz": f"{row['artifact_bytes']:,}",
            "onnx": f"{row['onnx_bytes']:,}",
            "accuracy": f"{row['test_accuracy']:.4f}",
            "error": f"{row['max_abs_error']:.1e}",
            "differing": f"{row['int8_values_differing']} of {row['int8_values_compared']:,}"
            if row["int8_values_compared"]
            else "-",
            "numpy": f"{row['numpy_us']:.1f}",
            "onnxruntime": f"{row['onnxruntime_us']:.1f}",
        }
        for row in rows
    ]
    columns = {"precision": "precision", "npz": ".npz bytes", "onnx": ".onnx bytes", "accuracy": "test accuracy"}
    columns |= {"error": "largest difference", "differing": "int8 values differing"}
    print_table(shown, {**columns, "numpy": "NumPy us", "onnxruntime": "onnxruntime us"})
    click.echo("\nfiles:")
    for path in [Path(out) / "digits.npz", *(Path(row[key]) for row in rows for key in ("artifact", "onnx"))]:
        click.echo(f"  {path}  {path.stat().st_size:,} bytes")
    int8 = next(row for row in rows if row["precision"] == "int8")
    click.echo(f"\nnext: smallnet inspect {int8['artifact']}")
