"""The budgets of a device, as an engine is asked to keep them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.arguments import INPUT_CHECKS, shown
from edge_runtime.errors import InputError

OVER_BATCH = ("refuse", "split")


@dataclass(frozen=True)
class Limits:
    """What an engine may use. None means no limit.

    ram_bytes: the model as it is held, widened copies of its weights, and the arena.
    speed_factor: 2.0 makes each run take twice as long as it did, to simulate a slower processor; 1.0 or more.
    max_batch: rows that go through the network together. over: what is done with more rows in one call of `Engine.run`:
    "refuse" raises InputError, "split" runs them part by part. (An int8-dynamic model quantizes each part by itself, so
    there the answers to a split batch are those to its parts.)
    lean: widen int8 and float16 weights at each run, even where there is memory to keep float copies of them.
    flash_bytes: the artifact as a file.
    device: a profile's name; its RAM and flash are taken where ram_bytes and flash_bytes are not given. They are taken
    whole: nothing is set aside for an operating system or a runtime. speed_factor is not taken from it, because a
    profile's time is a prediction for the device's own kernels and no multiple of this machine's (see `estimate`).
    Raises InputError for values out of range and for an unknown device.
    """

    ram_bytes: int | None = None
    speed_factor: float = 1.0
    max_batch: int | None = None
    lean: bool = False
    flash_bytes: int | None = None
    over: str = "refuse"
    device: str | None = None

    def __post_init__(self) -> None:
        for name, unit in (("ram_bytes", "byte"), ("flash_bytes", "byte"), ("max_batch", "row")):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                raise InputError(f"{name} is {shown(value)}, expected a whole number, or None for no limit")
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, expected at least 1 {unit}, or None for no limit")
        if not isinstance(self.speed_factor, (int, float)) or not 1.0 <= self.speed_factor <= 1e6:
            raise InputError(f"speed_factor is {shown(self.speed_factor)}, expected a number from 1.0 to 1,000,000")
        INPUT_CHECKS.choice("over", self.over, OVER_BATCH)
        INPUT_CHECKS.flag("lean", self.lean)
        if self.device is not None:
            self._take_from(self.device)

    def require_batch(self, rows: int) -> None:
        """Raise InputError where `over` refuses so many rows at once."""
        if self.max_batch is not None and rows > self.max_batch and self.over == "refuse":
            raise InputError(f"input has {rows} rows, the limit max_batch is {self.max_batch}; send fewer or raise it")

    def _take_from(self, device: str) -> None:
        from edge_runtime.device_profiles import find_device  # most engines keep no device's limits

        profile = find_device(device)
        for name in ("ram_bytes", "flash_bytes"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(profile, name))
