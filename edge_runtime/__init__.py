"""Run small dense networks with NumPy alone: what numbers mean, what a file means, how a model runs.

Names are loaded when they are first asked for: a command line can prepare itself before NumPy is imported, and what a
device never uses costs it nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_runtime.activations import Activation
    from edge_runtime.artifact import load, save
    from edge_runtime.device_profiles import DeviceProfile, Estimate, devices, estimate
    from edge_runtime.engine import Engine
    from edge_runtime.errors import (
        ArtifactError,
        BudgetExceeded,
        InputError,
        ModelError,
        OutputRefused,
        QuantizationError,
        SmallnetError,
    )
    from edge_runtime.layers import Dense, DynamicQuantizedDense, Layer, QuantizedDense
    from edge_runtime.limits import Limits
    from edge_runtime.model import Model, Standardization, TestVectors
    from edge_runtime.planner import MemoryPlan
    from edge_runtime.quantization import QuantParams
    from edge_runtime.replay import SelfTest, selftest

_NAMES = {
    "activations": ("Activation",),
    "artifact": ("load", "save"),
    "device_profiles": ("DeviceProfile", "Estimate", "devices", "estimate"),
    "engine": ("Engine",),
    "errors": (
        "ArtifactError",
        "BudgetExceeded",
        "InputError",
        "ModelError",
        "OutputRefused",
        "QuantizationError",
        "SmallnetError",
    ),
    "layers": ("Dense", "DynamicQuantizedDense", "Layer", "QuantizedDense"),
    "limits": ("Limits",),
    "model": ("Model", "Standardization", "TestVectors"),
    "planner": ("MemoryPlan",),
    "quantization": ("QuantParams",),
    "replay": ("SelfTest", "selftest"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Activation",
    "ArtifactError",
    "BudgetExceeded",
    "Dense",
    "DeviceProfile",
    "DynamicQuantizedDense",
    "Engine",
    "Estimate",
    "InputError",
    "Layer",
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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edge_runtime' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"edge_runtime.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
