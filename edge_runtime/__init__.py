"""Run small dense networks with NumPy alone: what numbers mean, what a file means, how a model runs."""

from edge_runtime.activations import Activation
from edge_runtime.artifact import load, save
from edge_runtime.devices import DeviceProfile, Estimate, devices, estimate
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
from edge_runtime.selftest import SelfTest, selftest

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
