"""The `smallnet` command: everything, from training to the verified file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.console import (
    COMMANDS,
    OneLineErrors,
    RowsDone,
    Size,
    cap,
    echo,
    echo_json,
    force_option,
    json_option,
    limit_options,
    load_limited,
    max_bytes_option,
    one_of,
)
from export.commands.bench import bench_command
from export.commands.extras import require_extra
from trainer.cli import train

if TYPE_CHECKING:
    from edge_runtime.errors import Alternative, BudgetExceeded
    from edge_runtime.model import Model
    from export.verification import RunLimits

_HELP = """Train small dense networks, shrink them to int8 or float16, prove that what runs is what was tested.

Try it: smallnet demo

In one thread (set before Python starts): OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 smallnet COMMAND
"""
# Written out here: where they are defined NumPy and onnx would be imported for a help text.
PRECISIONS = ("float32", "float16", "int8", "int8-dynamic")
METHODS = ("minmax", "percentile", "mse", "entropy", "auto")
FORMS = ("integer", "qgemm", "qdq")
_PRECISION_HELP = """May be given more than once (default: int8); all is the first three. int8-dynamic needs no
representative rows, but a row's answer depends on the other rows of its batch."""
_DATA_HELP = "digits, an .npz, a .csv or a folder of IDX files"
_METHOD_HELP = "How int8 ranges are chosen; auto tries the others and takes what is closest to the float network."
_EQUALIZE_HELP = "Bring the ranges of hidden units together first; the float network stays the same, bit for bit."
_FORM_HELP = """How int8 is written. integer: standard operators, the same bits everywhere. qgemm: the same bits, for
onnxruntime only. qdq: what TensorRT, QNN and OpenVINO read; not bit-exact."""

_PORTABLE_HELP = """With --form qdq: weights that could saturate on x86 without VNNI as uint8 with zero point 128, for
engines that take it."""


_MEMORY_HELP = "Memory that onnxruntime may take to run the file (default: 1G and 8 times its size; Linux only)."
_OUTPUT_HELP = "Which output of an ONNX file is meant, if it has several."
_SECONDS_HELP = "Seconds that it may take to open the file, and to run 256 rows."


def run_limit_options(command: Any) -> Any:
    """The options that a command has which runs somebody's ONNX file: the fields of `RunLimits`."""
    limit = click.FloatRange(min=0, min_open=True)
    seconds = click.option("--max-seconds", type=limit, default=60.0, show_default=True, help=_SECONDS_HELP)
    return click.option("--max-memory", type=Size(), help=_MEMORY_HELP)(seconds(command))


@click.group(cls=OneLineErrors, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="smallnet")
def main() -> None:  # noqa: D103  the help text above is its description
    pass


def _smaller_exports(error: BudgetExceeded) -> list[Alternative]:
    from export.commands.smaller import smaller_exports

    return smaller_exports(error)


main.advise = _smaller_exports
for _command in (train, *COMMANDS):
    main.add_command(_command)
main.add_command(bench_command)


@main.command("import")
@click.argument("model_path", metavar="MODEL.onnx")
@click.option("--out", required=True, help="The artifact to write, an .npz.")
@click.option("--data", "spec", help=f"Real rows to check and to take test vectors from: {_DATA_HELP}.")
@click.option("--output", metavar="NAME", help=_OUTPUT_HELP)
@click.option("--test-vectors", type=click.IntRange(0), default=8, show_default=True, help="Rows stored for selftest.")
@force_option
@max_bytes_option
@run_limit_options
@json_option
def import_command(
    model_path: str,
    out: str,
    spec: str | None,
    output: str | None,
    test_vectors: int,
    force: bool,
    max_bytes: int | None,
    max_memory: int | None,
    max_seconds: float,
    as_json: bool,
) -> None:
    """Take a dense network from PyTorch, scikit-learn, Keras or any other ONNX file.

    The imported model is run beside the file in onnxruntime on random rows, and on real ones where some are given; it
    is written only if the outputs agree. Exit status 1 if they do not. onnxruntime runs the file in a process of its
    own, within --max-memory and --max-seconds.

    Example: smallnet import model.onnx --out model.npz
    """
    require_extra("export", "onnx", "onnxruntime")
    import onnx

    from edge_runtime.artifact import save
    from edge_runtime.console import check_output
    from export.commands.data import load_rows
    from export.commands.reports import import_facts, import_table
    from export.onnx_reader import import_onnx
    from export.onnx_writer import foreign_doubts, saturating_weights
    from export.quantization import comparison_doubts, with_test_vectors
    from export.verification import RunLimits, random_rows, verify_import

    if not out.endswith(".npz"):
        raise click.UsageError(f"--out is {out!r}, expected the name of an .npz file")
    check_output(out, "artifact", force=force, sources=[model_path])
    source, allowed = import_onnx(model_path, output=output, **cap(max_bytes)), RunLimits(max_memory, max_seconds)
    model, rows = source.model, random_rows(source)
    reports = {"random": verify_import(model, model_path, rows, imported=source, run_limits=allowed)}
    if spec is not None:
        dataset = load_rows(model, spec, **cap(max_bytes))
        rows = dataset.x
        reports[spec] = verify_import(model, model_path, rows, imported=source, run_limits=allowed)
    is_ok = all(report.ok for report in reports.values())
    if is_ok:
        save(with_test_vectors(model, rows, test_vectors), out)
    weights = saturating_weights(onnx.load(model_path, load_external_data=False))
    notes = dict.fromkeys(note for report in reports.values() for note in report.notes)
    doubts = [*comparison_doubts(model, rows), *foreign_doubts(weights), *notes]
    facts = {**import_facts(source, reports, out if is_ok else None), "warnings": doubts}
    _say_warnings(facts["warnings"])
    if as_json:
        echo_json(facts)
    else:
        echo(import_table(facts))
    if not is_ok:
        raise click.exceptions.Exit(1)


def _say_warnings(texts: list[str]) -> None:
    for text in texts:
        echo(f"warning: {text}", err=True)


def load_any(
    path: str, max_bytes: int | None = None, run_limits: RunLimits | None = None, output: str | None = None
) -> Model:
    """The model in an artifact or in an ONNX file; the latter is compared with onnxruntime first."""
    from edge_runtime.artifact import load
    from edge_runtime.errors import ArtifactError

    if not path.lower().endswith(".onnx"):
        return load(path, **cap(max_bytes))
    from export.onnx_reader import import_onnx
    from export.verification import verify_import

    source = import_onnx(path, output=output, **cap(max_bytes))
    report = verify_import(source.model, path, imported=source, run_limits=run_limits)
    if not report.ok:
        raise ArtifactError(
            f"{path}: {report.differing} outputs differ from onnxruntime's by more than their bound; "
            "see 'smallnet import'"
        )
    return source.model


@main.command()
@click.argument("model_path", metavar="MODEL.npz|MODEL.onnx")
@click.option("--precision", "precisions", metavar=one_of((*PRECISIONS, "all")), multiple=True, help=_PRECISION_HELP)
@click.option("--output", metavar="NAME", help=_OUTPUT_HELP)
@click.option("--calibrate", "spec", help=f"Data whose training rows set the int8 grids: {_DATA_HELP}.")
@click.option("--out", default="build", show_default=True, help="Folder for the files.")
@click.option("--method", metavar=one_of(METHODS), default="auto", show_default=True, help=_METHOD_HELP)
@click.option("--per-tensor", is_flag=True, help="One weight scale per layer instead of one per output channel.")
@click.option("--equalize/--no-equalize", default=True, show_default=True, help=_EQUALIZE_HELP)
@click.option("--form", metavar=one_of(FORMS), default="integer", show_default=True, help=_FORM_HELP)
@click.option("--portable", is_flag=True, help=_PORTABLE_HELP)
@click.option("--opset", type=int, default=13, show_default=True, help="ONNX opset, 13 or newer.")
@click.option("--test-vectors", type=click.IntRange(0), default=8, show_default=True, help="Rows stored for selftest.")
@force_option
@max_bytes_option
@run_limit_options
@json_option
def export(
    model_path: str, precisions: tuple[str, ...], spec: str | None, max_bytes: int | None, as_json: bool, **options: Any
) -> None:
    """Shrink a trained model, write .npz and .onnx, and verify the pair at once. Exit status 1 if that fails.

    Sizes and accuracy are printed beside those of the model before. Accuracy is taken on the rows that `train` held
    out: the data is split by the seed that the model remembers.

    Example: smallnet export digits.npz --precision int8 --calibrate digits --out build/
    """
    require_extra("export", "onnx", "onnxruntime")
    from export.commands.data import rows_for_export
    from export.commands.pipeline import Evaluation, ExportOptions, check_export, export_model
    from export.commands.reports import choice_text, export_facts, export_table
    from export.verification import RunLimits

    wanted = _precisions(precisions)
    if spec is None and "int8" in wanted:
        raise click.UsageError("no data given, expected rows for the grids and for the check: add --calibrate digits")
    stem = Path(model_path).name.removesuffix(".npz").removesuffix(".onnx")
    chosen = ExportOptions(
        method=options["method"],
        per_channel=not options["per_tensor"],
        equalize=options["equalize"],
        form=options["form"],
        opset=options["opset"],
        portable=options["portable"],
    )
    check_export(
        options["out"], stem, wanted, chosen, force=options["force"], sources=list(filter(None, [model_path, spec]))
    )
    model = load_any(model_path, max_bytes, RunLimits(options["max_memory"], options["max_seconds"]), options["output"])
    rows = rows_for_export(model, spec, **cap(max_bytes))
    if rows.note:
        echo(rows.note, err=True)
    evaluation = Evaluation(*rows.test) if rows.test is not None else None
    with RowsDone("verifying") as on_rows:
        results = export_model(
            model,
            wanted,
            rows.calibration,
            options["out"],
            stem,
            evaluation=evaluation,
            verify_rows=rows.compared,
            held_out=rows.held_out,
            test_vectors=options["test_vectors"] if spec is not None else 0,
            options=chosen,
            on_choice=lambda seen: echo(choice_text(seen), err=True),
            on_file=lambda name: echo(f"wrote {name}", err=True),
            on_rows=on_rows,
        )
    before = {"file": model_path, "precision": model.precision, "bytes": Path(model_path).stat().st_size}
    before["score"] = None if evaluation is None else evaluation.score(model)
    facts = export_facts(before, None if evaluation is None else evaluation.score_name, results, rows.note)
    _say_warnings(facts["warnings"])
    if as_json:
        echo_json(facts)
    else:
        echo(export_table(facts))
    failed = [result for result in results if not result.report.ok]
    for result in failed:
        broken = f"{result.report.differing:,} values break their rule, first at {result.report.first_diverging_layer}"
        echo(f"error: {result.precision}: {broken}; not written", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _precisions(given: tuple[str, ...]) -> list[str]:
    everything = ("float32", "float16", "int8")
    names = [name for value in given or ("int8",) for name in (everything if value == "all" else (value,))]
    for name in names:
        if name not in PRECISIONS:
            raise click.UsageError(f"precision {name!r} found, expected one of {', '.join(PRECISIONS)} or all")
    return list(dict.fromkeys(names))


@main.command()
@click.argument("model_path", metavar="MODEL.npz")
@click.argument("other_path", metavar="MODEL.onnx|FOLDER")
@click.option("--data", "spec", help=f"Rows to compare on: {_DATA_HELP} (default: the stored test vectors).")
@click.option("--output", metavar="NAME", help=_OUTPUT_HELP)
@limit_options
@max_bytes_option
@run_limit_options
@json_option
def verify(
    model_path: str,
    other_path: str,
    spec: str | None,
    output: str | None,
    max_bytes: int | None,
    max_memory: int | None,
    max_seconds: float,
    as_json: bool,
    **limits: Any,
) -> None:
    """Compare every tensor of an artifact with its ONNX file in onnxruntime. Exit status 1 when a rule is broken.

    Two levels: onnxruntime's default, and with graph optimizations disabled. int8 tensors and logits must have the same
    bits; float layers must stay within a bound that follows from their weights. An ONNX file that was written by
    something else is compared by its outputs.

    In place of the ONNX file, a folder may be named that holds what a device computed: one .npy for each tensor that it
    wrote down, named as in this command's table (logits.npy and output.npy for the last layer).

    Example: smallnet verify build/digits.int8.npz build/digits.int8.onnx --data digits
    """
    require_extra("export", "onnx", "onnxruntime")
    from edge_runtime.engine import require_stored_batch
    from export.commands.data import load_rows
    from export.commands.reports import report_table
    from export.quantization import comparison_doubts
    from export.verification import RunLimits, rows_to_compare, verify_dumps
    from export.verification import verify as verify_onnx

    model, wanted = load_limited(model_path, max_bytes=max_bytes, **limits)
    rows = None
    if spec is None:
        require_stored_batch(model, wanted)
    else:
        rows = load_rows(model, spec, **cap(max_bytes)).x
        wanted.require_batch(len(rows))
    if Path(other_path).is_dir():
        report = verify_dumps(model, other_path, rows)
    else:
        with RowsDone("comparing") as on_rows:
            allowed = RunLimits(max_memory, max_seconds)
            report = verify_onnx(
                model, other_path, rows, limits=wanted, on_rows=on_rows, run_limits=allowed, output=output
            )
    doubts = [*comparison_doubts(model, rows_to_compare(model, rows)), *report.notes]
    _say_warnings(doubts)
    if as_json:
        echo_json({**report.as_dict(), "warnings": doubts})
    else:
        echo(report_table(report))
    if not report.ok:
        raise click.exceptions.Exit(1)


@main.command()
@click.option("--out", default="smallnet-demo", show_default=True, help="Folder for the files.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the split and the training."
)
@force_option
@json_option
def demo(out: str, seed: int, force: bool, as_json: bool) -> None:
    """Run the whole chain on the bundled digits: train, export three precisions, verify, time. Under a minute.

    Example: smallnet demo
    """
    require_extra("export", "onnx", "onnxruntime")
    from export.commands.demo import run_demo
    from export.commands.reports import demo_files, demo_table

    rows = run_demo(out, seed, lambda text: echo(text, err=True), force=force)
    if as_json:
        echo_json({"rows": rows, "warnings": [text for row in rows for text in row["warnings"]]})
    else:
        echo(f"{demo_table(rows)}\n\n{demo_files(rows, out)}")
    if not all(row["verified"] for row in rows):
        raise click.exceptions.Exit(1)
