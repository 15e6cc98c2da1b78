"""From one float32 model to verified files: quantize, store test vectors, write .npz and .onnx, verify, compare."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.artifact import artifact_bytes
from edge_runtime.console import check_folder, check_output
from edge_runtime.engine import Engine, Limits
from edge_runtime.errors import InputError
from edge_runtime.files import make_folder, write_together
from edge_runtime.layers import QuantizedDense, Stage
from edge_runtime.model import Model, weight_bytes
from export.c_writer import C_FORMATS, require_c, require_ziglang
from export.commands.export_files import ExportOptions, export_paths
from export.commands.verified_pair import PairMaker, Told, VerifiedPair
from export.commands.within import AUTO, Within, WrittenCheck
from export.onnx_writer import int4_doubts, require_form_of_fine_codes, saturation_doubts
from export.quantization import (
    DEFAULT_ROWS,
    Choice,
    Fidelity,
    Trial,
    calibration_doubts,
    fidelity_doubts,
    measure_fidelity,
    row_doubts,
)
from export.verification import Report, RunLimits, check_opset
from trainer.scores import ClassScores, ValueScores, chance_doubts, scores_of

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
    told = Told(on_choice, on_way, on_rows, on_trial, on_refused)
    export = PairMaker(model, rows, compared, Path(out), stem, test_vectors, chosen, run_limits, within, told)
    before = None if evaluation is None else evaluation.scores(model)
    results = []
    for precision in precisions:
        pair = export.verified_pair(precision)
        if pair.ok:
            _write({path: pair.contents[name] for name, path in pair.paths.items()}, on_file)
        fidelity = measure_fidelity(model, pair.small, judged)
        scores = None if evaluation is None else evaluation.scores(pair.small)
        texts = [
            *_score_doubts(before, scores),  # first: the file is worth nothing, whatever else is said
            *pair.texts,
            *_fidelity_doubts(pair.source, pair.small, rows, judged, fidelity),
            *row_doubts(pair.small, compared),
            *_file_doubts(pair, weight_bytes(model)),
        ]
        results.append(_exported(precision, pair, scores, fidelity, texts))
    return results


def _exported(
    precision: str, pair: VerifiedPair, scores: ClassScores | ValueScores | None, fidelity: Fidelity, texts: list[str]
) -> Exported:
    onnx_path, artifact = pair.paths.get(pair.onnx_name), next(p for p in pair.paths.values() if p.suffix == ".npz")
    return Exported(
        precision=precision,
        artifact=artifact,
        onnx=onnx_path,
        artifact_bytes=artifact_bytes(pair.small),
        onnx_bytes=len(pair.contents[pair.onnx_name]),
        report=pair.report,
        scores=scores,
        fidelity=fidelity,
        model=pair.small,
        warnings=tuple(f"{precision}: {text}" for text in texts),
        c=tuple(path for path in pair.paths.values() if path not in (artifact, onnx_path)),
        choice=pair.made.choice,
        check=pair.check,
    )


def _file_doubts(pair: VerifiedPair, before: int) -> list[str]:
    """What the files are that one would not expect. before: bytes of the weights of the float network."""
    texts = [*saturation_doubts(pair.proto), *int4_doubts(pair.proto)] if pair.onnx_name in pair.paths else []
    after = weight_bytes(pair.small)
    if after > before:
        texts.append(
            f"{after:,} bytes of weights, grids and tables, more than the {before:,} before: a table of an activation "
            "takes 512 B to 8 KB a layer; int8 has smaller ones than int8-a16, relu and leaky_relu need none"
        )
    return texts


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
