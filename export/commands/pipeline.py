"""From one float32 model to verified files: quantize, store test vectors, write .npz and .onnx, verify, compare."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.artifact import artifact_bytes, save_bytes
from edge_runtime.console import check_folder, check_output
from edge_runtime.engine import Engine, Limits
from edge_runtime.errors import InputError
from edge_runtime.files import make_folder, write_together
from edge_runtime.layers import QuantizedDense, Stage
from edge_runtime.model import Model
from export.c_writer import C_FORMATS, c_identifier, format_files, format_paths, require_c, require_ziglang
from export.commands.within import AUTO, MOST_CHECKED, Within, WrittenCheck, check_files, precisions_for
from export.onnx_writer import OPSET, int4_doubts, require_form_of_fine_codes, saturation_doubts, to_onnx
from export.quantization import (
    DEFAULT_ROWS,
    Choice,
    Fidelity,
    QuantizationWarning,
    Switches,
    Trial,
    calibration_doubts,
    choose_within,
    fidelity_doubts,
    measure_fidelity,
    quantize_beside,
    row_doubts,
    with_test_vectors,
)
from export.verification import Report, RunLimits, check_opset, verify_content
from trainer.scores import ClassScores, ValueScores, chance_doubts, scores_of

FORMATS = ("onnx", *C_FORMATS)
_RANDOM_ROWS = (
    "the rows are random within the stored ranges, and may be harder than real ones: --calibrate DATA judges on real "
    "rows and calibrates better; --precision float16 loses less"
)
_KINDS = {".onnx": "onnx", ".npz": "artifact"}  # of files that may be replaced, by suffix; all others are C of ours


@dataclass(frozen=True)
class LabeledRows:
    """Rows kept from training. x: float32 (n, n_in). y: int64 classes (n,) or float32 targets (n, k).

    names: of the classes, or of the targets, for messages.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    names: tuple[str, ...] = ()

    def scores(self, model: Model) -> ClassScores | ValueScores:
        """How good a model's answers to these rows are."""
        # an int8-dynamic model takes its batch whole
        return self.judge(Engine(model, Limits(max_batch=max(1, len(self.x)))))

    def answers(self, model: Model) -> NDArray[Any]:
        """A model's classes int64 (n,), or values float32 (n, k)."""
        return self._answers(Engine(model, Limits(max_batch=max(1, len(self.x)))))

    def _answers(self, engine: Engine) -> NDArray[Any]:
        return engine.predict(self.x) if self.y.dtype.kind in "iu" else engine.run(self.x)

    def judge(self, engine: Engine) -> ClassScores | ValueScores:
        """The same of an engine that takes so many rows at once."""
        return scores_of(self.y, self._answers(engine), self.names)

    def score(self, model: Model) -> float:
        """The share of right classes, or for targets R^2."""
        return self.scores(model).value

    @property
    def score_name(self) -> str:
        """What `score` is."""
        return "accuracy" if self.y.dtype.kind in "iu" else "R^2"


@dataclass(frozen=True)
class ExportOptions:
    """How the way to int8 is chosen, and which files are written and how.

    formats: of `FORMATS`, beside the artifact. See `quantize`, `write_onnx` and `write_c`.
    """

    switches: Switches = field(default_factory=Switches)
    form: str = "integer"
    opset: int = OPSET
    portable: bool = False
    formats: tuple[str, ...] = ("onnx",)
    logits: bool = False


@dataclass(frozen=True)
class Exported:
    """One precision: its files, their bytes, and what was measured. scores need LabeledRows.

    onnx: None if that is not written; c: the files of C, or nothing. report: of the artifact beside ONNX,
    which is compared whether it is written or not.
    fidelity: beside the float32 model on held-out rows. warnings: what to know before trusting it, a line each.
    choice, check: of the precision "auto".
    """

    precision: str
    artifact: Path
    onnx: Path | None
    artifact_bytes: int
    onnx_bytes: int
    report: Report
    scores: ClassScores | ValueScores | None
    fidelity: Fidelity
    model: Model
    warnings: tuple[str, ...] = ()
    c: tuple[Path, ...] = ()
    choice: Choice | None = None
    check: WrittenCheck | None = None

    @property
    def ok(self) -> bool:
        """Whether it was written: verified, and no worse than what was allowed."""
        return self.report.ok and (self.check is None or self.check.ok)

    @property
    def score(self) -> float | None:
        """The one of the scores that stands for all."""
        return None if self.scores is None else self.scores.value

    @property
    def layers(self) -> dict[str, str]:
        """The precision of each layer with weights, by name."""
        return {layer.name: layer.precision for layer in self.model.layers if not isinstance(layer, Stage)}

    @property
    def decisions_changed(self) -> int | None:
        """Of `fidelity`."""
        return self.fidelity.decisions_changed


def check_export(
    out: str | os.PathLike[str],
    stem: str,
    precisions: Sequence[str],
    options: ExportOptions,
    *,
    force: bool = False,
    sources: Sequence[str | os.PathLike[str]] = (),
) -> None:
    """Fail before any work where `export_model` could not write what it is asked for; makes nothing.

    sources: files that are read for it, which are never replaced, under whatever name.
    Raises QuantizationError for a form or an opset that cannot be written or checked, OutputRefused where a file would
    take the place of something else (not with `force`) or of a folder, OSError.
    """
    _check_opset(precisions, options)
    if set(C_FORMATS) & set(options.formats):
        for precision in (*precisions, *options.switches.keep.values()):
            require_c(precision)
    if "html" in options.formats:
        require_ziglang()
    check_folder(out)
    for path in export_paths(out, stem, precisions, options.formats):
        if path.parent.is_dir():
            check_output(path, _KINDS.get(path.suffix, "c"), force=force, sources=sources)


def _check_opset(precisions: Sequence[str], options: ExportOptions) -> None:
    """Raise QuantizationError for a form or an opset in which these precisions cannot be had here."""
    wanted = {*precisions, *options.switches.keep.values()}
    if "int8-a16" in wanted and "onnx" in options.formats:
        require_form_of_fine_codes("int8-a16", options.form)
    is_int4 = bool({"int4", AUTO} & wanted)
    check_opset(options.form, options.opset, portable=options.portable, is_int4=is_int4)


def export_paths(
    out: str | os.PathLike[str], stem: str, precisions: Sequence[str], formats: Sequence[str] = ("onnx",)
) -> list[Path]:
    """The files that `export_model` writes."""
    return [path for precision in precisions for path in _paths(out, stem, precision, formats).values()]


def _paths(out: str | os.PathLike[str], stem: str, precision: str, formats: Sequence[str]) -> dict[str, Path]:
    """The files of one precision by their names in `out`, the artifact last, in the order in which they are named."""
    names = [f"{stem}.{precision}.onnx"] if "onnx" in formats else []
    for form in set(C_FORMATS) & set(formats):
        names += format_paths(form, c_name(stem, precision))
    return {name: Path(out) / name for name in [*sorted(names), f"{stem}.{precision}.npz"]}


def c_name(stem: str, precision: str) -> str:
    """What the C files of a precision, and all in them, are called."""
    return c_identifier(f"{stem}_{precision}")


def export_model(
    model: Model,
    precisions: list[str],
    rows: NDArray[np.float32] | None,
    out: str | os.PathLike[str],
    stem: str,
    *,
    evaluation: LabeledRows | None = None,
    verify_rows: NDArray[np.float32] | None = None,
    held_out: NDArray[np.float32] | None = None,
    test_vectors: int = DEFAULT_ROWS,
    options: ExportOptions | None = None,
    on_file: Callable[[str], None] | None = None,
    on_choice: Callable[[dict[str, float]], None] | None = None,
    on_way: Callable[[int, int], None] | None = None,
    on_rows: Callable[[int, int], None] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    on_refused: Callable[[Trial, WrittenCheck], None] | None = None,
    run_limits: RunLimits | None = None,
    within: Within | None = None,
) -> list[Exported]:
    """Write STEM.PRECISION.npz and .onnx, or STEM_PRECISION.c and .h, into the folder `out` for each precision.

    The artifact is verified beside ONNX before it is written. Files are written together: where the disk fills, older
    ones stay whole. The artifact gets its name last, so that none is left that was not verified. What breaks a rule is
    not written (see `Exported.report`).
    model: float32. rows: calibration rows, of which the test vectors are chosen too; None for a model that holds ranges
    of its own, which needs verify_rows and has no test vectors then. verify_rows: what the two engines are compared on
    (default: `rows`). held_out: rows to judge each precision on beside float32 (default: those of the evaluation, or
    `verify_rows`). on_file: told the name of each file written. on_choice: told what method "auto" saw. on_way: told
    how many of its ways have been tried of how many. on_rows: told how many rows of how many have been compared.
    run_limits: what running an ONNX file may take. within: what the precision "auto" is chosen by, which also is
    checked on the files before they get their names; where that fails, the next choice is made and checked, up to
    MOST_CHECKED. on_trial: told of each candidate for it. on_refused: told of each choice that did not hold, but for
    the last. Raises QuantizationError, OSError, InputError for no rows to compare on.
    """
    chosen = options or ExportOptions()
    _check_opset(precisions, chosen)
    compared = rows if verify_rows is None else verify_rows
    if compared is None:
        raise InputError("no rows found to compare the files on, expected rows or verify_rows")
    judged = held_out if held_out is not None else compared if evaluation is None else evaluation.x
    before = None if evaluation is None else evaluation.scores(model)
    results = []
    for precision in precisions:
        choice: Choice | None = None
        with _heard() as texts:
            if precision == AUTO and within is not None and rows is not None:
                among = precisions_for(chosen.form, chosen.formats)
                choice = choose_within(
                    model, rows, *within.chosen_on, within.allowed, chosen.switches,
                    test_vectors=0, on_trial=on_trial, among=among,
                )  # fmt: skip
                found = choice.quantized
            else:
                found = quantize_beside(model, rows, precision, chosen.switches, 0, on_choice, on_way)
        paths = _paths(out, stem, precision, chosen.formats)
        artifact, onnx = (Path(out) / f"{stem}.{precision}.{suffix}" for suffix in ("npz", "onnx"))
        while True:
            small = found.model if rows is None else with_test_vectors(found.model, rows, test_vectors)
            # may refuse: nothing is written before
            proto = to_onnx(small, chosen.form, opset=chosen.opset, portable=chosen.portable)
            content = proto.SerializeToString(deterministic=True)
            contents = {onnx.name: content, artifact.name: save_bytes(small)}
            contents |= _c_contents(small, c_name(stem, precision), contents[artifact.name], chosen)
            report = verify_content(small, content, onnx, compared, on_rows=on_rows, run_limits=run_limits)
            check = None
            if choice is not None and within is not None:
                check = check_files(choice, within, contents[artifact.name], proto, report.session_config)
            with _heard() as said:
                following = _following(choice, report, check)
            if following is None or choice is None or check is None:
                break
            if on_refused is not None:
                on_refused(choice.chosen, check)
            choice, found, texts = following, following.quantized, said
        if report.ok and (check is None or check.ok):
            _write({path: contents[name] for name, path in paths.items()}, on_file)
        fidelity = measure_fidelity(model, small, judged)
        texts += [*_fidelity_doubts(found.source, small, rows, judged, fidelity), *row_doubts(small, compared)]
        texts += [*saturation_doubts(proto), *int4_doubts(proto)]
        scores = None if evaluation is None else evaluation.scores(small)
        texts = [*_score_doubts(before, scores), *texts]  # first: the file is worth nothing, whatever else is said
        results.append(
            Exported(
                precision=precision,
                artifact=artifact,
                onnx=paths.get(onnx.name),
                artifact_bytes=artifact_bytes(small),
                onnx_bytes=len(content),
                report=report,
                scores=scores,
                fidelity=fidelity,
                model=small,
                warnings=tuple(f"{precision}: {text}" for text in texts),
                c=tuple(path for path in paths.values() if path not in (artifact, onnx)),
                choice=choice,
                check=check,
            )
        )
    return results


def _following(choice: Choice | None, report: Report, check: WrittenCheck | None) -> Choice | None:
    """The choice to make where one that was verified lost too much; None for no such, and after MOST_CHECKED."""
    if choice is None or check is None or check.ok or not report.ok or len(choice.refused) + 1 >= MOST_CHECKED:
        return None
    return choice.further(check.excess)


def _fidelity_doubts(
    source: Model, small: Model, rows: NDArray[np.float32] | None, judged: NDArray[np.float32], fidelity: Fidelity
) -> list[str]:
    """How near `small` is to its float network, and what the calibration rows did not show.

    With grids of stored ranges the rows judged on are random ones, which each doubt says, and what brings real ones.
    """
    texts = fidelity_doubts(source, small, judged, fidelity)
    if not any(isinstance(layer, QuantizedDense) for layer in small.layers):
        return texts
    if rows is None:
        return [f"{text}; {_RANDOM_ROWS}" for text in texts]
    return [*texts, *calibration_doubts(rows, judged, small, source)]


def _c_contents(model: Model, name: str, artifact: bytes, options: ExportOptions) -> dict[str, bytes]:
    """The C files by their paths."""
    contents: dict[str, bytes] = {}
    for form in set(C_FORMATS) & set(options.formats):
        contents |= format_files(form, model, name, logits=options.logits, artifact=artifact)
    return contents


def _score_doubts(before: ClassScores | ValueScores | None, scores: ClassScores | ValueScores | None) -> list[str]:
    """What must not be missed: answers that need no model, and that it was shrinking that made them so."""
    if before is None or scores is None:
        return []
    doubts = chance_doubts(scores)
    if not doubts or chance_doubts(before):
        return doubts
    lost = f"the model before has {before.value:.4f}: shrinking lost it; do not use this file, keep --precision float32"
    return [f"{text}, and {lost}" for text in doubts]


def _write(contents: dict[Path, bytes], on_file: Callable[[str], None] | None) -> None:
    """A pair of files, in this order. on_file: told their names."""
    for path in contents:
        make_folder(path.parent)
    write_together(contents)
    for path in contents:
        if on_file is not None:
            on_file(str(path))


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """Collects the texts of quantization warnings; others are passed on."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", QuantizationWarning)
        yield texts
    for warning in caught:
        if issubclass(warning.category, QuantizationWarning):
            texts.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
