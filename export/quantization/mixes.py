"""Networks whose layers each have a precision of their own, made of one calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import CalibrationError, QuantizationError
from edge_runtime.layers import Stage
from edge_runtime.model import Model
from export.quantization.calibration import CalibrationRows
from export.quantization.quantizer import PRECISIONS, Quantized, calibrated, without_grids
from export.quantization.recipe import FLOATS, INTEGERS, Recipe, Switches
from export.quantization.trials import Trials

LADDER = tuple(name for name in ("int4", "int8", "int8-a16", *reversed(FLOATS)) if name in PRECISIONS)
"""From the fewest bytes to the most."""

Mix: TypeAlias = "tuple[tuple[str, str], ...]"  # the precision of each layer with weights, by name


class Mixes:
    """Makes mixes of a float `model`. How its integers are made is decided once for each precision, by trials.

    model: float32, no subnormal weights. among: the precisions that occur. Raises CalibrationError for calibration rows
    that come once.
    """

    def __init__(
        self, model: Model, calibration: CalibrationRows, switches: Switches, among: Sequence[str] = LADDER
    ) -> None:
        if hasattr(calibration, "__next__"):
            raise CalibrationError(
                "calibration is an iterator, which gives its rows once, expected an array or a list of batches: the "
                "choice of precisions reads them often"
            )
        self.model = model
        self._switches = switches
        self._trials = Trials(model, calibration, switches)
        self._recipes = {name: self._recipe(name) for name in among if name in INTEGERS}

    @property
    def keep(self) -> Mapping[str, str]:
        """The precisions of layers that are not chosen for, by name."""
        return self._switches.keep

    @property
    def sample(self) -> NDArray[np.float32]:
        """Some of the calibration rows, of which test vectors are chosen."""
        return self._trials.source(is_equalized=False).seen.sample

    def uniform(self, precision: str) -> Quantized:
        """All layers in one."""
        return self.made(tuple((layer.name, precision) for layer in self.model.layers if not isinstance(layer, Stage)))

    def made(self, mix: Mix) -> Quantized:
        """The network of that mix, beside the float one with its units. Raises QuantizationError as `quantize` does."""
        lowest = min((precision for _name, precision in mix), key=LADDER.index)
        keep = {name: precision for name, precision in mix if precision != lowest}
        if lowest not in INTEGERS:
            switches = replace(self._switches, precision=lowest, keep=keep)
            return Quantized(self.model, without_grids(self.model, switches))
        found = self._recipes[lowest]
        if isinstance(found, QuantizationError):
            raise found
        recipe, tried = found
        return calibrated(self._trials.beside(lowest), replace(recipe, keep=tuple(sorted(keep.items()))), tried)

    def _recipe(self, precision: str) -> tuple[Recipe, dict[str, float]] | QuantizationError:
        """How the whole network is best made in that precision, and what was tried for it; or why it cannot be."""
        try:
            return self._trials.beside(precision).choose()
        except QuantizationError as error:
            return error
