"""The settings of precision, reproducibility and simulated hardware."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from edge_runtime.arguments import Checks
from trainer.errors import ConfigurationError

CHECKS = Checks(ConfigurationError)
check_flag, check_whole, check_number = CHECKS.flag, CHECKS.whole, CHECKS.number

TRAIN_DTYPES = ("float32", "float64")
SIMULATED_PRECISIONS = ("float32", "float16", "int8")
BYTES_PER_MB = 1 << 20


@dataclass(frozen=True)
class PrecisionConfig:
    """How a network computes, what it draws its random numbers from, and which hardware it pretends to run on.

    train_dtype: dtype of weights and of all arithmetic in training, "float32" or "float64" (NumPy multiplies float16
        matrices without BLAS, so it is not offered).
    infer_precision: what `predict`, `evaluate` and `forward` outside of training compute with. "float16" rounds the
        weights to float16; "int8" is dynamic symmetric quantization of weights (one scale per output) and of each row
        of activations. A quick look at what a precision costs; `export.quantize` makes the real thing.
    int8_clip_value: the largest integer of that quantization and of precision_mode "int8", 1..127: 127 is 8 bits, 7
    is 4. seed: of the one generator (PCG64) that initial weights, order of rows and dropout are drawn from.
    enable_profiling: `fit` measures every layer and leaves the table in `profile_`. Slower.
    enable_hardware_simulation: switches on the three limits below. max_memory_mb: what training may allocate, in MiB
    (2**20 bytes); the batch size is lowered to fit, with a warning. compute_speed_factor: 2.0 makes training and
    prediction take twice as long as they did, 1.0 or more. precision_mode: the precision a network is trained *for*.
    "float16" and "int8" round the weights that the forward and
        backward pass see, while updates go to the full weights (straight-through estimator, Hinton 2012).
    batch_size_limit: the largest batch, in training and in prediction.
    Raises ConfigurationError (a ValueError) for values out of range.
    """

    train_dtype: str = "float32"
    infer_precision: str = "float32"
    int8_clip_value: int = 127
    seed: int = 42
    enable_profiling: bool = False
    enable_hardware_simulation: bool = False
    max_memory_mb: float = 512.0
    compute_speed_factor: float = 1.0
    precision_mode: str = "float32"
    batch_size_limit: int = 128

    def __repr__(self) -> str:
        """What was chosen and the seed, as it is written; what is not named is as by default."""
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.name == "seed" or getattr(self, field.name) != field.default
        ]
        return f"PrecisionConfig({', '.join(shown)})"

    def __post_init__(self) -> None:
        CHECKS.choice("train_dtype", self.train_dtype, TRAIN_DTYPES)
        CHECKS.choice("infer_precision", self.infer_precision, SIMULATED_PRECISIONS)
        CHECKS.choice("precision_mode", self.precision_mode, SIMULATED_PRECISIONS)
        check_whole("int8_clip_value", self.int8_clip_value, 1, 127)
        check_whole("seed", self.seed, 0)
        check_whole("batch_size_limit", self.batch_size_limit, 1)
        check_number("max_memory_mb", self.max_memory_mb, above=0.0)
        check_number("compute_speed_factor", self.compute_speed_factor, low=1.0)
        for name in ("enable_profiling", "enable_hardware_simulation"):
            check_flag(name, getattr(self, name))

    @property
    def dtype(self) -> np.dtype[Any]:
        """`train_dtype` as NumPy's type."""
        return np.dtype(self.train_dtype)

    @property
    def max_memory_bytes(self) -> int:
        """`max_memory_mb` in bytes."""
        return int(self.max_memory_mb * BYTES_PER_MB)

    @property
    def speed_factor(self) -> float:
        """`compute_speed_factor` where hardware is simulated, else 1.0."""
        return float(self.compute_speed_factor) if self.enable_hardware_simulation else 1.0

    @property
    def max_rows(self) -> int | None:
        """`batch_size_limit` where hardware is simulated, else None."""
        return int(self.batch_size_limit) if self.enable_hardware_simulation else None


DEFAULT_CONFIG = PrecisionConfig()
