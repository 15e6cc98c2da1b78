"""Run small dense networks with NumPy alone: what numbers mean, what a file means, how a model runs.

Names are loaded when they are first asked for: a command line can prepare itself before NumPy is imported, and what a
device never uses costs it nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.lazy import lazy_names
from edge_runtime.version import __version__ as __version__

if TYPE_CHECKING:
    from edge_runtime.artifact import load, save
    from edge_runtime.device_profiles import DeviceProfile, Estimate, devices, estimate
    from edge_runtime.engine import Engine, Limits, MemoryPlan, SelfTest, selftest
    from edge_runtime.errors import (
        ArtifactError,
        BudgetExceeded,
        InputError,
        ModelError,
        OutputRefused,
        QuantizationError,
        SmallnetError,
    )
    from edge_runtime.layers import Dense, DynamicQuantizedDense, Elementwise, Layer, LayerNorm, QuantizedDense
    from edge_runtime.model import Model, Standardization, TestVectors
    from edge_runtime.numerics import Activation, QuantParams

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "artifact": ("load", "save"),
        "device_profiles": ("DeviceProfile", "Estimate", "devices", "estimate"),
        "engine": ("Engine", "Limits", "MemoryPlan", "SelfTest", "selftest"),
        "errors": (
            "ArtifactError",
            "BudgetExceeded",
            "InputError",
            "ModelError",
            "OutputRefused",
            "QuantizationError",
            "SmallnetError",
        ),
        "layers": ("Dense", "DynamicQuantizedDense", "Elementwise", "Layer", "LayerNorm", "QuantizedDense"),
        "model": ("Model", "Standardization", "TestVectors"),
        "numerics": ("Activation", "QuantParams"),
    },
)[:2]

__all__ = [
    "Activation",
    "ArtifactError",
    "BudgetExceeded",
    "Dense",
    "DeviceProfile",
    "DynamicQuantizedDense",
    "Elementwise",
    "Engine",
    "Estimate",
    "InputError",
    "Layer",
    "LayerNorm",
    "Limits",
    "MemoryPlan",
    "Model",
    "ModelError",
    "OutputRefused",
    "QuantParams",
    "QuantizationError",
    "QuantizedDense",
    "SelfTest",
    "SmallnetError",
    "Standardization",
    "TestVectors",
    "devices",
    "estimate",
    "load",
    "save",
    "selftest",
]
