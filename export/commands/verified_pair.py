"""A precision of an export: its network and its files in memory, verified; of "auto" those of the choice that holds."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_runtime.artifact import save_bytes
from edge_runtime.model import Model
from export.commands.export_files import ExportOptions, c_contents, c_name, paths_of
from export.commands.within import AUTO, MOST_CHECKED, Within, WrittenCheck, check_files, precisions_for
from export.onnx_writer import to_onnx
from export.quantization import Choice, QuantizationWarning, Trial, choose_within, quantize_beside, with_test_vectors
from export.verification import Report, RunLimits, verify_content


@dataclass(frozen=True)
class Told:
    """What `export_model` tells of its way."""

    on_choice: Callable[[dict[str, float]], None] | None
    on_way: Callable[[int, int], None] | None
    on_rows: Callable[[int, int], None] | None
    on_trial: Callable[[Trial], None] | None
    on_refused: Callable[[Trial, WrittenCheck], None] | None


@dataclass(frozen=True)
class Made:
    """A smaller network and its float network. choice: of the precision "auto". texts: warnings of its making."""

    source: Model
    small: Model
    choice: Choice | None
    texts: list[str]


@dataclass(frozen=True)
class VerifiedPair:
    """What was made and what is to be written: contents by name, of which `paths` are wanted."""

    made: Made
    small: Model
    proto: onnx.ModelProto
    contents: dict[str, bytes]
    paths: dict[str, Path]
    report: Report
    check: WrittenCheck | None

    @property
    def ok(self) -> bool:
        """Whether it may be written."""
        return self.report.ok and (self.check is None or self.check.ok)

    @property
    def source(self) -> Model:
        """The float network, with the units of the small one."""
        return self.made.source

    @property
    def texts(self) -> list[str]:
        """Warnings of its making."""
        return self.made.texts

    @property
    def onnx_name(self) -> str:
        """Of the ONNX model, written or not."""
        return next(name for name in self.contents if name.endswith(".onnx"))


@dataclass(frozen=True)
class PairMaker:
    """Makes the pairs of an export, a precision each. Its fields are what all of them have: see `export_model`."""

    model: Model
    rows: NDArray[np.float32] | None
    compared: NDArray[np.float32]
    out: Path
    stem: str
    test_vectors: int
    options: ExportOptions
    run_limits: RunLimits | None
    within: Within | None
    told: Told

    def verified_pair(self, precision: str) -> VerifiedPair:
        """The files of a precision; of "auto" those of the next choice, as long as one loses more than is allowed."""
        made = self._made(precision)
        while True:
            pair = self._pair(made, precision)
            following = self._following(pair)
            if following is None:
                return pair
            if self.told.on_refused is not None and made.choice is not None and pair.check is not None:
                self.told.on_refused(made.choice.chosen, pair.check)
            made = following

    def _made(self, precision: str) -> Made:
        with _heard() as texts:
            if precision == AUTO and self.within is not None and self.rows is not None:
                choice = self._choice(self.within, self.rows)
                return Made(choice.quantized.source, choice.quantized.model, choice, texts)
            switches, told = self.options.switches, self.told
            found = quantize_beside(self.model, self.rows, precision, switches, 0, told.on_choice, told.on_way)
        return Made(found.source, found.model, None, texts)

    def _choice(self, within: Within, rows: NDArray[np.float32]) -> Choice:
        return choose_within(
            self.model,
            rows,
            *within.chosen_on,
            within.allowed,
            self.options.switches,
            test_vectors=0,
            on_trial=self.told.on_trial,
            among=precisions_for(self.options.form, self.options.formats),
        )

    def _pair(self, made: Made, precision: str) -> VerifiedPair:
        """Written in memory, verified, and of "auto" checked. May refuse: nothing has been written before."""
        small = made.small if self.rows is None else with_test_vectors(made.small, self.rows, self.test_vectors)
        options, name = self.options, f"{self.stem}.{precision}"
        proto = to_onnx(small, options.form, opset=options.opset, portable=options.portable)
        content, artifact = proto.SerializeToString(deterministic=True), save_bytes(small)
        contents = {f"{name}.onnx": content, f"{name}.npz": artifact}
        contents |= c_contents(small, c_name(self.stem, precision), artifact, options)
        report = verify_content(
            small, content, self.out / f"{name}.onnx", self.compared,
            on_rows=self.told.on_rows, run_limits=self.run_limits,
        )  # fmt: skip
        check = None
        if made.choice is not None and self.within is not None:
            check = check_files(made.choice, self.within, artifact, proto, report.session_config)
        paths = paths_of(self.out, self.stem, precision, options.formats)
        return VerifiedPair(made, small, proto, contents, paths, report, check)

    def _following(self, pair: VerifiedPair) -> Made | None:
        """The choice to make where one that was verified lost too much; None for no such, and after MOST_CHECKED."""
        choice, check = pair.made.choice, pair.check
        if choice is None or check is None or check.ok or not pair.report.ok or len(choice.refused) + 1 >= MOST_CHECKED:
            return None
        with _heard() as texts:
            following = choice.further(check.excess)
        return None if following is None else Made(*following.quantized[:2], following, texts)


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
