"""The budgets of a device, as an engine is asked to keep them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What an engine may use. None means no limit.

    ram_bytes: the model as it is held, widened copies of its weights, and the arena.
    speed_factor: 2.0 makes each run take twice as long as it did, to simulate a slower processor; 1.0 or more.
    max_batch: rows in one call of `Engine.run`.
    lean: widen int8 and float16 weights at each run, even where there is memory to keep float copies of them.
    Raises InputError for values out of range.
    """

    ram_bytes: int | None = None
    speed_factor: float = 1.0
    max_batch: int | None = None
    lean: bool = False

    def __post_init__(self) -> None:
        for name in ("ram_bytes", "max_batch"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                raise InputError(f"{name} is {value!r}, expected a whole number, or None for no limit")
        if self.ram_bytes is not None and self.ram_bytes < 1:
            raise InputError(f"ram_bytes is {self.ram_bytes}, expected at least 1 byte, or None for no limit")
        if not isinstance(self.speed_factor, (int, float)) or not 1.0 <= self.speed_factor <= 1e6:
            raise InputError(f"speed_factor is {self.speed_factor!r}, expected a number from 1.0 to 1,000,000")
        if self.max_batch is not None and self.max_batch < 1:
            raise InputError(f"max_batch is {self.max_batch}, expected at least 1 row, or None for no limit")
