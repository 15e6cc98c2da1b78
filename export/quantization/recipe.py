"""What is done to a float network on its way to int8, by name: the switches of `quantize`, and what "auto" chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.arguments import QUANTIZATION_CHECKS
from export.quantization.ranges import METHODS

ROUNDINGS = ("nearest", "compensated")
INTEGERS = ("int8", "int4", "int8-a16")  # precisions of layers on grids that calibration finds
FLOATS = ("float32", "float16")
KEPT = (*FLOATS, *INTEGERS)  # what a layer that is named may be kept in


class QuantizationWarning(UserWarning):
    """Something in the calibration that works, and that a user should look at."""


@dataclass(frozen=True)
class Recipe:
    """One way to int8.

    method: how ranges are chosen, a key of `export.quantization.ranges.METHODS`. equalization: see
    `export.quantization.equalization`. bias_correction, rounding: see `export.quantization.rounding`. per_channel: one
    weight scale per output channel instead of one per layer. precision: of the layers' weights and inputs, one of
    `INTEGERS`. keep: layers by name that are in another precision, one of `KEPT`.
    """

    method: str = "minmax"
    equalization: bool = False
    bias_correction: bool = False
    rounding: str = "nearest"
    per_channel: bool = True
    precision: str = "int8"
    keep: tuple[tuple[str, str], ...] = ()

    def precision_of(self, layer: str) -> str:
        """What a layer with weights becomes."""
        return dict(self.keep).get(layer, self.precision)

    @property
    def looks_at_rows(self) -> bool:
        """Whether it needs rows, and not only the ranges of tensors."""
        return self.bias_correction or self.rounding != "nearest"

    def __str__(self) -> str:
        """As metadata and messages have it: "mse, equalized, bias correction, compensated rounding"."""
        steps = {
            "equalized": self.equalization,
            "bias correction": self.bias_correction,
            f"{self.rounding} rounding": self.rounding != "nearest",
        }
        return ", ".join([self.method, *(step for step, is_taken in steps.items() if is_taken)])


@dataclass(frozen=True)
class Switches:
    """What a caller decided; None, and the method "auto", leave it to the trials. See `Recipe`.

    With a method that is named, None is off: that and nothing else is done. keep: precisions by the names of layers.
    """

    method: str = "auto"
    equalization: bool | None = None
    bias_correction: bool | None = None
    rounding: str | None = None
    per_channel: bool = True
    precision: str = "int8"
    keep: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        QUANTIZATION_CHECKS.choice("method", self.method, (*METHODS, "auto"))
        for name in ("equalization", "bias_correction"):
            if getattr(self, name) is not None:
                QUANTIZATION_CHECKS.flag(name, getattr(self, name))
        if self.rounding is not None:
            QUANTIZATION_CHECKS.choice("rounding", self.rounding, ROUNDINGS)
        QUANTIZATION_CHECKS.flag("per_channel", self.per_channel)
        object.__setattr__(self, "keep", QUANTIZATION_CHECKS.mapping("keep", self.keep, "precisions by layer names"))
        for name, precision in self.keep.items():
            QUANTIZATION_CHECKS.choice(f"keep[{name!r}]", precision, KEPT)

    @property
    def is_open(self) -> bool:
        """Whether there is something to choose."""
        return self.method == "auto"

    def first(self) -> list[list[Recipe]]:
        """The recipes of ranges, without equalization and with it as far as that is open, the plainest first."""
        methods = METHODS if self.is_open else [self.method]
        scales = (False, True) if self.is_open and self.equalization is None else (bool(self.equalization),)
        keep = tuple(sorted(self.keep.items()))
        rest = (bool(self.bias_correction), self.rounding or "nearest", self.per_channel, self.precision, keep)
        return [[Recipe(method, is_equalized, *rest) for method in methods] for is_equalized in scales]

    def further(self) -> list[dict[str, Any]]:
        """What may be added to the best of those, in this order: fields of a recipe with their values."""
        if not self.is_open:
            return []
        correction = [{"bias_correction": True}] if self.bias_correction is None else []
        return [*correction, *([{"rounding": "compensated"}] if self.rounding is None else [])]
