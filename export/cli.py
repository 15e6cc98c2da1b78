"""The `smallnet` command: everything, from training to the verified file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime import cli as runtime_cli
from edge_runtime.cli import OneLineErrors, echo_json, json_option, warn_of_range
from trainer import cli as trainer_cli

if TYPE_CHECKING:
    from edge_runtime.model import Model
    from trainer.datasets import Dataset

_HELP = """Train small dense networks, shrink them to int8 or float16, prove that what runs is what was tested.

Try it: smallnet demo
"""
_PRECISION_HELP = """float32, float16, int8, int8-dynamic, or all (the first three); may be given more than once.
int8-dynamic needs no representative rows, but a row's answer depends on the other rows of its batch."""
_DATA_HELP = "digits, an .npz, a .csv or a folder of IDX files"
_METHOD_HELP = "How int8 ranges are chosen: minmax, percentile, mse, entropy, or auto, which tries them all."
_FORM_HELP = """How int8 is written. integer: standard operators, the same bits everywhere. qgemm: the same bits, for
onnxruntime only. qdq: what TensorRT, QNN and OpenVINO read; not bit-exact."""


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
@click.option("--precision", "precisions", multiple=True, help=_PRECISION_HELP)
@click.option("--calibrate", "spec", help=f"Data whose training rows set the int8 grids: {_DATA_HELP}.")
@click.option("--out", default="build", show_default=True, help="Folder for the files.")
@click.option("--method", default="auto", show_default=True, help=_METHOD_HELP)
@click.option("--per-tensor", is_flag=True, help="One weight scale per layer instead of one per output channel.")
@click.option("--form", default="integer", show_default=True, help=_FORM_HELP)
@click.option("--opset", type=int, default=13, show_default=True, help="ONNX opset, 13 or newer.")
@click.option("--test-vectors", type=click.IntRange(0), default=8, show_default=True, help="Rows stored for selftest.")
@json_option
def export(model_path: str, precisions: tuple[str, ...], spec: str | None, as_json: bool, **options: Any) -> None:
    """Shrink a trained model, write .npz and .onnx, and verify the pair at once. Exit status 1 if that fails.

    Sizes and accuracy are printed beside those of the model before. Accuracy is taken on the rows that `train` held
    out: the data is split by the seed that the model remembers.

    Example: smallnet export digits.npz --precision int8 --calibrate digits --out build/
    """
    require_extra("export", "onnx", "onnxruntime")
    from edge_runtime.artifact import load
    from export.pipeline import Evaluation, ExportOptions, export_model
    from export.tables import choice_text, export_facts, export_table
    from trainer.datasets import load_dataset, split

    if spec is None:
        raise click.UsageError("no data given, expected rows for the grids and for the check: add --calibrate digits")
    wanted = _precisions(precisions)
    model = load(model_path)
    dataset = load_dataset(spec, target=_target(model))
    check_width(model, dataset, spec)
    parts = split(dataset, seed=_seed(model))
    evaluation = Evaluation(parts.test.x, parts.test.y) if _labels_fit(model, dataset) else None
    results = export_model(
        model,
        wanted,
        parts.train.x,
        options["out"],
        Path(model_path).name.removesuffix(".npz"),
        evaluation=evaluation,
        verify_rows=dataset.x,
        test_vectors=options["test_vectors"],
        options=ExportOptions(options["method"], not options["per_tensor"], options["form"], options["opset"]),
        on_choice=lambda seen: click.echo(choice_text(seen), err=True),
        on_file=lambda name: click.echo(f"wrote {name}", err=True),
    )
    before = {"file": model_path, "precision": model.precision, "bytes": Path(model_path).stat().st_size}
    before["score"] = None if evaluation is None else evaluation.score(model)
    facts = export_facts(before, None if evaluation is None else evaluation.score_name, results)
    if as_json:
        echo_json(facts)
    else:
        click.echo(export_table(facts))
    if not all(result.report.ok for result in results):
        raise click.exceptions.Exit(1)


def _precisions(given: tuple[str, ...]) -> list[str]:
    from export.quantizer import PRECISIONS

    everything = ("float32", "float16", "int8")
    names = [name for value in given or ("int8",) for name in (everything if value == "all" else (value,))]
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
    """Whether the data's labels mean the model's outputs: the same classes, or as many targets."""
    if not dataset.is_classification:
        return dataset.n_out == model.n_out
    return dataset.class_names == model.class_names or (not model.class_names and dataset.n_out <= max(model.n_out, 2))


def _target(model: Model) -> Any:
    """What the model was trained to give, so that the data is read the same way again."""
    target = model.metadata.get("target", "auto")
    return target if target in ("class", "regression", "autoencoder") else "auto"


def _seed(model: Model) -> int:
    text = model.metadata.get("seed", "0")
    return int(text) if text.isdecimal() else 0


@main.command()
@click.argument("model_path", metavar="MODEL.npz")
@click.argument("other_path", metavar="MODEL.onnx|FOLDER")
@click.option("--data", "spec", help=f"Rows to compare on: {_DATA_HELP} (default: the stored test vectors).")
@json_option
def verify(model_path: str, other_path: str, spec: str | None, as_json: bool) -> None:
    """Compare every tensor of an artifact with its ONNX file in onnxruntime. Exit status 1 when a rule is broken.

    Two levels: onnxruntime's default, and with graph optimizations disabled. int8 tensors and logits must have the same
    bits; float layers must stay within a bound that follows from their weights. An ONNX file that was written by
    something else is compared by its outputs.

    In place of the ONNX file, a folder may be named that holds what a device computed: one .npy for each tensor that it
    wrote down, named as in this command's table (logits.npy and output.npy for the last layer).

    Example: smallnet verify build/digits.int8.npz build/digits.int8.onnx --data digits
    """
    require_extra("export", "onnx", "onnxruntime")
    from edge_runtime.artifact import load
    from export.dumps import verify_dumps
    from export.tables import report_table
    from export.verification import verify as verify_onnx
    from trainer.datasets import load_dataset

    model = load(model_path)
    rows = None
    if spec is not None:
        dataset = load_dataset(spec, target=_target(model))
        check_width(model, dataset, spec)
        rows = dataset.x
        warn_of_range(model, rows)
    compare = verify_dumps if Path(other_path).is_dir() else verify_onnx
    report = compare(model, other_path, rows)
    if as_json:
        echo_json(report.as_dict())
    else:
        click.echo(report_table(report))
    if not report.ok:
        raise click.exceptions.Exit(1)


@main.command()
@click.option("--out", default="smallnet-demo", show_default=True, help="Folder for the files.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the split and the training."
)
@json_option
def demo(out: str, seed: int, as_json: bool) -> None:
    """Run the whole chain on the bundled digits: train, export three precisions, verify, time. Under a minute.

    Example: smallnet demo
    """
    require_extra("export", "onnx", "onnxruntime")
    from export.demo import run_demo
    from export.tables import demo_files, demo_table

    rows = run_demo(out, seed, lambda text: click.echo(text, err=True))
    if as_json:
        echo_json({"rows": rows})
    else:
        click.echo(f"{demo_table(rows)}\n\n{demo_files(rows, out)}")
    if not all(row["verified"] for row in rows):
        raise click.exceptions.Exit(1)
