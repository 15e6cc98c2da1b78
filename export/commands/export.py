"""`smallnet export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edge_runtime.console import (
    FILE,
    Progress,
    cap,
    echo,
    echo_json,
    force_option,
    json_option,
    max_bytes_option,
    note,
    say,
    wide_option,
    width_for,
)
from edge_runtime.model import Model, weight_bytes
from export.commands.as_c import has_integers, read_small, write_as_c
from export.commands.as_onnx import as_it_is_text, write_as_onnx
from export.commands.data import ExportRows, rows_for_export
from export.commands.export_files import FORMATS, ExportOptions, export_paths
from export.commands.extras import require_extra
from export.commands.options import (
    DATA_HELP,
    OUTPUT_HELP,
    load_any,
    run_limit_options,
    say_warnings,
    test_vectors_option,
)
from export.commands.pipeline import Exported, LabeledRows, check_export, export_model
from export.commands.reports import export_facts, export_table, method_text
from export.commands.within import AUTO, MOST_CHECKED, Within, WrittenCheck, check_text, trial_text
from export.onnx_writer import FORMS
from export.quantization import INTEGERS, KEPT, METHODS, METRICS, PRECISIONS, ROUNDINGS, StoredRanges, Switches
from export.verification import RunLimits
from trainer.datasets import files_of

_PRECISION = click.Choice((*PRECISIONS, AUTO, "all"))
_PRECISION_HELP = f"""One of {", ".join(_PRECISION.choices)}. May be given more than once (default: int8).
all: float32, float16, int8. int8-a16: int8 weights, and inputs of 9 to 16 bits, for outputs that are
quantities. int8-dynamic needs no representative rows, but a row's answer depends on the other rows of its batch. auto:
for each layer one, so that the weights take the fewest bytes within --max-drop."""
_CALIBRATE_HELP = f"""Data whose training rows set the grids of integers: {DATA_HELP}. Without any, the ranges that the
model holds from its training do, and what looks at rows is left out: equalization, bias correction, compensated
rounding, accuracy, test vectors."""
_MAX_DROP_HELP = f"""With --precision auto, which needs it: what may be lost on rows that nothing was calibrated on, in
the unit of --metric. "0.00 +- 1.20 points" is a drop and its standard error, what chance may have won on so few rows:
both together have to be allowed. The files are checked on rows that the choice did not see; where they lose more, the
next choice is made, {MOST_CHECKED} at most, then exit status 1 and nothing written."""
_METRIC_HELP = """accuracy: percentage points (without labels: of decisions that change). rmse: percent by which the
error grows, of the target where it grows most. sqnr: dB of signal to noise at the outputs below what float16 gives. By
default accuracy for classes, rmse for targets, else sqnr."""
_METHOD_HELP = """How int8 ranges are chosen; auto tries the others, and the three steps below, and takes what comes
closest to the float network on rows kept apart. With a method that is named, only the steps asked for are taken."""
_EQUALIZE_HELP = "Bring the ranges of hidden units together first; the float network stays the same but for rounding."
_BIAS_HELP = "Move biases so that each unit's mean is that of the float network."
_ROUNDING_HELP = "compensated: the weights of a layer make good what rounding takes from the others."
_KEEP_HELP = """A layer that stays in another precision than the rest, as dense1=float16; may be given more than once.
Beside int8, int8-a16, int4 and auto: int8, int8-a16, int4, float16, float32; beside float16 and int8-dynamic: float32,
float16. auto chooses for the others.
The layers are named by smallnet inspect."""
_FORMAT_HELP = """What is written beside the artifact; may be given more than once (default: onnx). c: NAME.c and NAME.h
for microcontrollers; c-project: with main.c and a Makefile; arduino: a library folder;
html: a page that holds the model."""
_LOGITS_HELP = "In C: leave out the activation of the last layer, and with it <math.h>."
_FORM_HELP = """How int8 is written. integer: standard operators, the same bits everywhere. qgemm: the same bits, for
onnxruntime only. qdq: what TensorRT, QNN and OpenVINO read; not bit-exact."""
_PORTABLE_HELP = """With --form qdq: weights that could saturate on x86 without VNNI as uint8 with zero point 128, for
engines that take it."""


def _precisions(given: tuple[str, ...]) -> list[str]:
    everything = ("float32", "float16", "int8")
    names = [name for value in given or ("int8",) for name in (everything if value == "all" else (value,))]
    for name in names:
        if name not in (*PRECISIONS, AUTO):
            raise click.UsageError(f"precision {name!r} found, expected one of {', '.join(PRECISIONS)}, auto or all")
    return list(dict.fromkeys(names))


@click.command()
@click.argument("model_path", metavar="MODEL.npz|MODEL.onnx", type=FILE)
@click.option("--precision", "precisions", type=_PRECISION, metavar="NAME", multiple=True, help=_PRECISION_HELP)
@click.option("--output", metavar="NAME", help=OUTPUT_HELP)
@click.option("--calibrate", "spec", type=FILE, help=_CALIBRATE_HELP)
@click.option("--out", type=FILE, default="build", show_default=True, help="Folder for the files.")
@click.option("--method", type=click.Choice((*METHODS, "auto")), default="auto", show_default=True, help=_METHOD_HELP)
@click.option("--per-tensor", is_flag=True, help="One weight scale per layer instead of one per output channel.")
@click.option("--equalize/--no-equalize", "equalization", default=None, help=_EQUALIZE_HELP)
@click.option("--bias-correction/--no-bias-correction", default=None, help=_BIAS_HELP)
@click.option("--rounding", type=click.Choice(ROUNDINGS), help=_ROUNDING_HELP)
@click.option("--max-drop", metavar="X", type=click.FloatRange(0), help=_MAX_DROP_HELP)
@click.option("--metric", type=click.Choice(list(METRICS)), help=_METRIC_HELP)
@click.option("--keep", metavar="NAME=PRECISION", multiple=True, help=_KEEP_HELP)
@click.option("--format", "formats", type=click.Choice(FORMATS), multiple=True, help=_FORMAT_HELP)
@click.option("--logits", is_flag=True, help=_LOGITS_HELP)
@click.option("--form", type=click.Choice(FORMS), default="integer", show_default=True, help=_FORM_HELP)
@click.option("--portable", is_flag=True, help=_PORTABLE_HELP)
@click.option("--opset", metavar="N", type=int, default=13, show_default=True, help="ONNX opset, 13 or newer.")
@test_vectors_option
@force_option
@max_bytes_option
@run_limit_options
@json_option
@wide_option
def export(
    model_path: str,
    precisions: tuple[str, ...],
    spec: str | None,
    max_bytes: int | None,
    as_json: bool,
    wide: bool,
    **options: Any,
) -> None:
    """Shrink a trained model, write .npz and .onnx, and verify the pair at once. Exit status 1 if that fails.

    In format c, NAME.c and NAME.h take the place of the .onnx, NAME made of the file of the model and the precision.
    An artifact that is small already is written as it is, as NAME.onnx or as C, and needs no data.

    Sizes and accuracy are printed beside those of the model before. Accuracy is taken on the rows that `train` held
    out: the data is split by the seed that the model remembers.

    Example: smallnet export digits.npz --calibrate digits --out build/
    """
    wanted, chosen = _precisions(precisions), _chosen(options)
    _check_auto(wanted, options)
    _check_switches(wanted, options)
    small = _already_small(model_path, precisions, chosen.formats, max_bytes)
    if small is not None:
        return _as_it_is(*small, model_path, spec, chosen, {**options, "max_bytes": max_bytes}, as_json, wide)
    if spec is None and AUTO in wanted:
        raise click.UsageError(
            "--precision auto chooses and checks on real rows, and no data given: add --calibrate DATA, some hundreds "
            "of rows, best the data that the model was trained on, with their labels"
        )
    stem, out = Path(model_path).name.removesuffix(".npz").removesuffix(".onnx"), options["out"]
    sources: list[str | Path] = [model_path, *(files_of(spec) if spec else [])]
    check_export(out, stem, wanted, chosen, force=options["force"], sources=sources)
    run_limits: RunLimits = options["run_limits"]
    model = load_any(
        model_path, max_bytes, run_limits, options["output"], export_paths(out, stem, wanted, chosen.formats)
    )
    stored = _stored_ranges(model, model_path) if spec is None and set(INTEGERS) & set(wanted) else None
    rows = rows_for_export(model, spec, stored, **cap(max_bytes))
    if rows.note:
        note(rows.note)
    evaluation = LabeledRows(*rows.test, names=rows.names) if rows.test is not None else None
    within = _within(rows, options) if AUTO in wanted else None
    with Progress("calibrating", unit="ways") as on_way, Progress("verifying") as on_rows:
        results = export_model(
            model,
            wanted,
            rows.calibration,
            out,
            stem,
            evaluation=evaluation,
            verify_rows=rows.compared,
            held_out=rows.held_out,
            test_vectors=options["test_vectors"] if spec is not None else 0,
            options=chosen,
            on_choice=lambda seen: note(method_text(seen)),
            on_file=lambda name: note(f"wrote {name}"),
            on_way=on_way,
            on_rows=on_rows,
            run_limits=run_limits,
            within=within,
            on_trial=lambda trial: note(trial_text(trial, () if within is None else within.names)),
            on_refused=lambda trial, check: note(f"auto: {trial.text} does not hold: {check_text(check)}"),
        )
    before, score_name = _before(model, model_path, evaluation), None if evaluation is None else evaluation.score_name
    facts = export_facts(before, score_name, results, rows.note)
    say_warnings(facts["warnings"])
    if as_json:
        echo_json(facts)
    else:
        echo(export_table(facts, width_for(wide)))
    return _refuse_broken([result for result in results if not result.ok])


def _within(rows: ExportRows, options: dict[str, Any]) -> Within:
    """What --precision auto has to hold, and the rows it is chosen and checked on."""
    are_classes = rows.chosen_on.y is not None and rows.chosen_on.y.dtype.kind in "iu"
    names = () if are_classes else tuple(rows.names)
    return Within(options["max_drop"], options["metric"], rows.chosen_on, rows.checked, names)


def _before(model: Model, path: str, evaluation: LabeledRows | None) -> dict[str, Any]:
    """The model that is shrunk, as the report sets it beside what was made."""
    scores = None if evaluation is None else evaluation.scores(model)
    return {
        "file": path,
        "precision": model.precision,
        "bytes": Path(path).stat().st_size,
        "weight_bytes": weight_bytes(model),
        "score": None if scores is None else scores.value,
        "scores": None if scores is None else scores.as_dict(),
    }


def _stored_ranges(model: Model, path: str) -> StoredRanges:
    """Those that stand in for data. Raises UsageError if there are none, QuantizationError if they are of others."""
    stored = StoredRanges.of(model)
    if stored is None and has_integers(model):
        raise click.UsageError(f"{path} is {model.precision} already; start from the float32 model that it was made of")
    if stored is None:
        raise click.UsageError(
            f"no data given, and {path} holds no ranges of its training rows, as 'smallnet train' writes them: add "
            "--calibrate DATA, some hundreds of real rows; --precision float16 (half the bytes) and int8-dynamic need "
            "none"
        )
    return stored


def _already_small(
    path: str, precisions: tuple[str, ...], formats: tuple[str, ...], max_bytes: int | None
) -> tuple[Model, bytes] | None:
    """The model in an artifact that is written as it is, with the file's bytes; None for one to shrink."""
    wanted = _precisions(precisions)
    if len(wanted) > 1:
        return None
    small = read_small(path, wanted[0] if precisions else None, max_bytes)
    return small if small is None or "onnx" not in formats or has_integers(small[0]) else None


def _as_it_is(
    model: Model,
    content: bytes,
    path: str,
    spec: str | None,
    chosen: ExportOptions,
    options: dict[str, Any],
    as_json: bool,
    wide: bool,
) -> None:
    """Write an artifact that has its precision already as C, as ONNX, or as both."""
    of_c = tuple(form for form in chosen.formats if form != "onnx")
    facts = write_as_c(model, content, path, options["out"], replace(chosen, formats=of_c), force=options["force"])
    if "onnx" in chosen.formats:
        facts = write_as_onnx(model, path, spec, chosen, options, facts)
    if as_json:
        echo_json(facts)
    else:
        echo(as_it_is_text(facts, width_for(wide)))
    if facts["exported"][0].get("verified") is False:
        raise click.exceptions.Exit(1)


def _chosen(options: dict[str, Any]) -> ExportOptions:
    """How the grids are chosen and ONNX is written, of the command's options."""
    formats = tuple(dict.fromkeys(options["formats"] or ("onnx",)))
    if formats != ("onnx",):
        require_extra("c", "jinja2")
    elif options["logits"]:
        raise click.UsageError("--logits is given without a format of C, expected both or none")
    steps = {name: options[name] for name in ("method", "equalization", "bias_correction", "rounding")}
    switches = Switches(**steps, per_channel=not options["per_tensor"], keep=_kept(options["keep"]))
    names = ("form", "opset", "portable", "logits")
    return ExportOptions(switches, formats=formats, **{name: options[name] for name in names})


def _check_auto(wanted: list[str], options: dict[str, Any]) -> None:
    """Raise UsageError for options of --precision auto that are missing, without it, or decided by it."""
    if AUTO not in wanted:
        for name in ("max_drop", "metric"):
            if options[name] is not None:
                raise click.UsageError(
                    f"--{name.replace('_', '-')} is given without --precision auto, expected both or none"
                )
    elif options["max_drop"] is None:
        raise click.UsageError("--precision auto without --max-drop found, expected what may be lost: --max-drop 0.2")


def _check_switches(wanted: list[str], options: dict[str, Any]) -> None:
    """Raise UsageError for options of calibrated grids where no precision has such."""
    if {*INTEGERS, AUTO} & {*wanted}:
        return
    given = {
        "--method": options["method"] != "auto",
        "--equalize": bool(options["equalization"]),
        "--bias-correction": bool(options["bias_correction"]),
        "--rounding compensated": options["rounding"] == "compensated",
    }
    idle = [name for name, is_given in given.items() if is_given]
    if idle:
        raise click.UsageError(
            f"{', '.join(idle)} given with {', '.join(wanted)}, which looks at no rows: expected one of "
            f"{', '.join(INTEGERS)} or auto beside, or these left out"
        )


def _kept(given: tuple[str, ...]) -> dict[str, str]:
    """Precisions by the names of layers."""
    kept: dict[str, str] = {}
    for text in given:
        name, _, precision = text.rpartition("=")
        if not name or precision not in KEPT:
            raise click.UsageError(
                f"--keep {text} found, expected NAME=PRECISION such as dense1=float16, in one of {', '.join(KEPT)}"
            )
        if name in kept:
            raise click.UsageError(f"--keep names {name} twice, expected each layer once")
        kept[name] = precision
    return kept


def _refused_text(check: WrittenCheck) -> str:
    before = f"nor did the choices before it hold ({check.refused}); " if check.refused else ""
    return f"{before}allow more, give more rows, or name a precision"


def _refuse_broken(failed: list[Exported]) -> None:
    """A line for each pair that was not written, and exit status 1 if there is one."""
    for result in failed:
        broken = f"{result.report.differing:,} values break their rule, first at {result.report.first_diverging_layer}"
        if result.report.ok and result.check is not None:
            broken = f"{check_text(result.check)}; {_refused_text(result.check)}"
        say(f"error: {result.precision}: {broken}; not written")
    if failed:
        raise click.exceptions.Exit(1)
