"""Run small dense networks with NumPy alone: what numbers mean, what a file means, how a model runs.

Names that a device may never use (device profiles, the self-test) are loaded when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edge_runtime.activations import Activation
from edge_runtime.artifact import load, save
from edge_runtime.engine import Engine
from edge_runtime.errors import (
    ArtifactError,
    BudgetExceeded,
    InputError,
    ModelError,
    QuantizationError,
    SmallnetError,
)
from edge_runtime.layers import Dense, DynamicQuantizedDense, Layer, QuantizedDense
from edge_runtime.limits import Limits
from edge_runtime.model import Model, Standardization, TestVectors
from edge_runtime.planner import MemoryPlan
from edge_runtime.quantization import QuantParams

if TYPE_CHECKING:
    from edge_runtime.device_profiles import DeviceProfile, Estimate, devices, estimate
    from edge_runtime.replay import SelfTest, selftest

_HOMES = {
    "DeviceProfile": "device_profiles",
    "Estimate": "device_profiles",
    "devices": "device_profiles",
    "estimate": "device_profiles",
    "SelfTest": "replay",
    "selftest": "replay",
}

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
    return getattr(importlib.import_module(f"edge_runtime.{_HOMES[name]}"), name)
