"""Which way to int8 serves this network: each is tried on calibration rows that were kept apart.

With equalization and without: each way to choose ranges, then bias correction and compensated rounding on top of the
best of them, each kept if the outputs come closer to the float network's. What helps one network harms another, so
nothing is taken for granted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engine import Engine
from edge_runtime.errors import CalibrationError, QuantizationError
from edge_runtime.model import Model
from export.quantization.calibration import CalibrationRows, calibrate, widened
from export.quantization.doubts import counts_alike
from export.quantization.equalization import equalize, equalize_weights
from export.quantization.fidelity import even_db, even_error, sqnr_db, squared_error
from export.quantization.followed_rows import FollowedRows
from export.quantization.int8_layers import to_int8
from export.quantization.ranges import ChosenRanges
from export.quantization.recipe import QuantizationWarning, Recipe, Switches

# What a range narrower than all that was seen has to gain, 0.5 dB: it saturates rows that none of these stands for, and
# one that is a little ahead on the held-out rows may be far behind on others.
NARROWER = 10**0.05

OnWay: TypeAlias = Callable[[int, int], None] | None  # told how many ways of how many have been tried
Outputs: TypeAlias = dict[Recipe, NDArray[np.float32]]


class CalibratedNetwork:
    """A float network with its units equalized or not, and what calibration saw in it."""

    def __init__(self, model: Model, calibration: CalibrationRows, *, hold_out: bool) -> None:
        self.model = model
        self.seen = calibrate(model, calibration, hold_out=hold_out)
        self._is_whole = False

    def include_held_out(self) -> None:
        """Count the rows that choices were made on too, once: after the last choice."""
        if not self._is_whole:
            self.seen.include_held_out(self.model)
            self._is_whole = True

    def int8(self, recipe: Recipe) -> Model:
        """The network as the recipe makes it. Raises QuantizationError for what could not be exact."""
        ranges = ChosenRanges(self.seen.histograms, recipe.method)
        followed = FollowedRows(self.model, self.seen.followed) if recipe.looks_at_rows else None
        layers = tuple(map(widened, self.model.layers))
        return replace(self.model, layers=to_int8(layers, ranges, recipe, followed), test_vectors=None)


class Trials:
    """The recipes that the switches leave open, judged on rows kept apart. model: float32, no subnormal weights.

    Raises CalibrationError where rows that come once would have to be read twice, and what `calibrate` raises.
    """

    def __init__(self, model: Model, calibration: CalibrationRows, switches: Switches) -> None:
        if hasattr(calibration, "__next__"):
            switches = _for_rows_that_come_once(switches)
        self._model, self._calibration, self._switches = model, calibration, switches
        self._sources: dict[str, CalibratedNetwork] = {}

    def beside(self, precision: str) -> Trials:
        """Of the same rows and networks, for another precision."""
        other = Trials(self._model, self._calibration, replace(self._switches, precision=precision))
        other._sources = self._sources
        return other

    def source(self, is_equalized: bool) -> CalibratedNetwork:
        """The network with its units equalized, by what costs its precision most, or as they are."""
        by = ("grids" if self._switches.precision == "int8" else "weights") if is_equalized else "nothing"
        if by not in self._sources:
            model = self._equalized(by)
            self._sources[by] = CalibratedNetwork(model, self._calibration, hold_out=self._switches.is_open)
        return self._sources[by]

    def _equalized(self, by: str) -> Model:
        if by == "grids":
            return equalize(self._model, self._calibration)
        return equalize_weights(self._model) if by == "weights" else self._model

    def choose(self, on_way: OnWay = None) -> tuple[Recipe, dict[str, float]]:
        """The recipe whose outputs, before a final activation, are closest to the float ones on the held-out rows.

        Several targets count alike, whatever their units (`even_error`), and the decibels are of that error then.
        Ranges that are narrower than min-max have to be closer by NARROWER. Second, the signal to noise in dB of each
        that was tried, in the order of the trials. Equal ones go to the earlier, which is plainer. With no held-out
        rows (fewer than five in all) it is the first, and nothing was tried. Raises QuantizationError where the
        plainest cannot be exact.
        """
        plainest = self._switches.first()[0][0]
        rows = self.source(plainest.equalization).seen.held_out
        if not self._switches.is_open or len(rows) == 0:
            return plainest, {}
        reference = Engine(self._model).logits(rows)
        found: Outputs = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", QuantizationWarning)  # the final choice says it once
            for recipes in self._switches.first():
                found |= self._climbed(recipes, rows, reference, self._tell(on_way, len(found)))
        decibels = even_db if counts_alike(self._model) else sqnr_db
        tried = {str(recipe): decibels(reference, outputs) for recipe, outputs in found.items()}
        return _closest(reference, found, self._error), tried

    @property
    def _error(self) -> Callable[[Any, Any], float]:
        """What is made small."""
        return even_error if counts_alike(self._model) else squared_error

    def _tell(self, on_way: OnWay, before: int) -> Callable[[int], None]:
        """What tells `on_way` how many ways have been tried, `before` and since then, of how many."""
        first, further = self._switches.first(), self._switches.further()
        total = sum(len(recipes) + len(further) for recipes in first)
        return lambda done: None if on_way is None else on_way(before + done, total)

    def _climbed(
        self,
        recipes: list[Recipe],
        rows: NDArray[np.float32],
        reference: NDArray[np.float32],
        tell: Callable[[int], None],
    ) -> Outputs:
        """Of these recipes, and of the closest of them with one step more, and another."""
        found: Outputs = {}
        for recipe in recipes:
            self._try(recipe, rows, found)
            tell(len(found))
        for step in self._switches.further():
            if found:
                self._try(replace(_closest(reference, found, self._error), **step), rows, found)
                tell(len(found))
        return found

    def _try(self, recipe: Recipe, rows: NDArray[np.float32], found: Outputs) -> None:
        """Note what the recipe's model gives. One that cannot be exact is passed over, but for the plainest."""
        try:
            found[recipe] = Engine(self.source(recipe.equalization).int8(recipe)).logits(rows)
        except CalibrationError:  # rows that are bad now are so for each recipe
            raise
        except QuantizationError:
            if recipe == self._switches.first()[0][0]:
                raise


def _closest(
    reference: NDArray[np.float32], found: Outputs, measured: Callable[[Any, Any], float] = squared_error
) -> Recipe:
    """By the error: where no output varies over these rows, decibels tell nothing apart."""

    def error(recipe: Recipe) -> float:
        return measured(reference, found[recipe]) * (1.0 if recipe.method == "minmax" else NARROWER)

    return min(found, key=error)


def ladder(taken: Recipe, tried: dict[str, float]) -> str:
    """How `taken` was reached: "minmax 38.0, mse, equalized 38.5, bias correction 39.0 dB", on the held-out rows."""
    steps = [replace(taken, bias_correction=False, rounding="nearest"), replace(taken, rounding="nearest"), taken]
    names = list(dict.fromkeys(name for name in (next(iter(tried)), *map(str, steps)) if name in tried))
    said = [name.rsplit(", ", 1)[-1] if at > 1 else name for at, name in enumerate(names)]
    return ", ".join(f"{text} {tried[name]:.1f}" for text, name in zip(said, names, strict=True)) + " dB"


def _for_rows_that_come_once(switches: Switches) -> Switches:
    """Without equalization, which reads the rows to find its factors and a second time for the ranges."""
    if switches.equalization:
        raise CalibrationError(
            "equalization reads the calibration rows twice, found an iterator, which gives them once; pass a list of "
            "its batches, or leave equalization out"
        )
    return replace(switches, equalization=False)
