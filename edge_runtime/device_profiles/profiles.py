"""Device profiles with sources, and what they predict for a model: time, energy, flash and RAM.

Predictions come from a roofline: time = sum over layers of max(MACs / rate, weight bytes / bandwidth) + overhead per
layer; energy = active power x time. Its constants were fitted on three boards; on 18 published MLPerf Tiny results of
eight boards not used for the fit, the mean error was 15 %, the median 10 %, the worst 37 %. Figures for other devices
are estimates, and so are stages, whose operations on single values count as MACs. Nothing here is measured on your
device.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_runtime.arguments import shown
from edge_runtime.device_profiles.c_footprint import c_code_bytes, c_ram_bytes, is_written_as_c
from edge_runtime.errors import InputError
from edge_runtime.layers import DynamicQuantizedDense, Layer, QuantizedDense, Stage
from edge_runtime.model import Model, as_model, weight_bytes
from edge_runtime.numerics import FEWEST_BITS

# What a runtime takes beside a model that is not written as C (int8-dynamic, and all on Linux): a TFLite Micro sketch
# with one small dense net on a Nucleo F746ZG (33 nets, bharathsudharsan/TinyML-Benchmark-NNs-on-MCUs, table B2); Python
# with NumPy 2.4 on x86-64 Linux for the Linux class.
RUNTIME_BYTES = {"mcu": {"flash": 120_000, "ram": 24_000}, "linux": {"flash": 0, "ram": 28_100_000}}


@dataclass(frozen=True)
class DeviceProfile:
    """One device. Units: Hz, bytes, bytes/s, seconds, watts; None where no figure was found.

    kind: "mcu" or "linux". macs_per_cycle: per core, by precision. kernel_tier: the class of kernels that the int8 rate
    stands for ("tuned", "vendor" as in CMSIS-NN, "ref"). source and confidence: by field name.
    """

    name: str
    kind: str
    core: str
    clock_hz: float
    ram_bytes: int
    flash_bytes: int | None
    cache_bytes: int | None
    macs_per_cycle: dict[str, float]
    bandwidth_bytes_per_s: float | None
    layer_overhead_s: float
    active_power_w: float | None
    kernel_tier: str | None
    source: dict[str, str]
    confidence: dict[str, str]
    published: tuple[dict[str, Any], ...]

    def __repr__(self) -> str:
        """What it is, in one line; figures and their sources are in the fields."""
        flash = "" if self.flash_bytes is None else f", {self.flash_bytes:,} B flash"
        return (
            f"DeviceProfile({self.name}: {self.core}, {self.clock_hz / 1e6:.0f} MHz, {self.ram_bytes:,} B RAM{flash})"
        )


@dataclass(frozen=True)
class Estimate:
    """A prediction for one model on one device, one row at a time. why_not: what is missing, empty where it fits.

    ram_bytes and flash_bytes are what is needed: on a microcontroller by the C that `smallnet export` writes; on Linux,
    and by what is not written as C, with `RUNTIME_BYTES`. ram_left_bytes and flash_left_bytes are what then is left of
    the device's, negative where that much is missing, None where weights are held in RAM.
    kernel_class and weakest say what the prediction rests on.
    """

    device: str
    precision: str
    latency_s: float
    energy_j: float | None
    ram_bytes: int
    flash_bytes: int
    ram_left_bytes: int
    flash_left_bytes: int | None
    fits: bool
    why_not: str
    kernel_class: str
    weakest: str

    def __repr__(self) -> str:
        """The prediction in one line; what it rests on is in the fields."""
        energy = "" if self.energy_j is None else f", {self.energy_j * 1e6:.1f} uJ"
        fits = "fits" if self.fits else f"does not fit: {self.why_not}"
        return f"Estimate({self.device}, {self.precision}, predicted {self.latency_s * 1e3:.3f} ms{energy}; {fits})"


@functools.cache
def _load() -> dict[str, DeviceProfile]:
    import importlib.resources  # finds the file inside a zip too, and is slow to import

    text = (
        importlib.resources.files("edge_runtime.device_profiles").joinpath("devices.json").read_text(encoding="utf-8")
    )
    data = json.loads(text)
    return {entry["name"]: _profile(entry) for entry in data["profiles"]}


def devices() -> dict[str, DeviceProfile]:
    """All profiles by name."""
    return dict(_load())


def find_device(name: str) -> DeviceProfile:
    """The profile of that name. Raises InputError, listing the names there are."""
    if not isinstance(name, str) or name not in _load():
        raise InputError(f"device {shown(name)} is not known; expected one of {', '.join(sorted(_load()))}")
    return _load()[name]


def estimate(model: Model, device: str | DeviceProfile) -> Estimate:
    """Predict how `model` does on `device`. Raises InputError for an unknown device and for what is no model."""
    model = as_model(model)
    profile = device if isinstance(device, DeviceProfile) else find_device(device)
    latency = _latency(model, profile)
    flash, ram = _footprint(model, profile)
    ram_left = profile.ram_bytes - ram
    flash_left = None if profile.flash_bytes is None else profile.flash_bytes - flash
    why_not = _why_not(profile, flash, ram)
    return Estimate(
        device=profile.name,
        precision=model.precision,
        latency_s=latency,
        energy_j=None if profile.active_power_w is None else profile.active_power_w * latency,
        ram_bytes=ram,
        flash_bytes=flash,
        ram_left_bytes=ram_left,
        flash_left_bytes=flash_left,
        fits=not why_not,
        why_not=why_not,
        kernel_class=f"{profile.kernel_tier} kernels" if profile.kernel_tier else "native kernels, one core",
        weakest=_weakest(profile, model),
    )


def _footprint(model: Model, profile: DeviceProfile) -> tuple[int, int]:
    """Bytes of flash and RAM: on a microcontroller as C where that is written, else with `RUNTIME_BYTES`."""
    weights = weight_bytes(model)
    if profile.kind == "mcu" and is_written_as_c(model):
        return weights + c_code_bytes(model), c_ram_bytes(model)
    runtime = RUNTIME_BYTES[profile.kind]
    held = 0 if profile.flash_bytes is not None else weights
    return runtime["flash"] + weights, runtime["ram"] + activation_bytes(model) + held


def activation_bytes(model: Model) -> int:
    """Peak bytes of activations for one row: the largest sum of a layer's input and output, each in its own dtype."""
    peak = 0
    for layer in model.layers:
        grids = (layer.input, layer.final_grid) if isinstance(layer, QuantizedDense) else (None, None)
        item_in, item_out = (4 if grid is None else np.dtype(grid.dtype).itemsize for grid in grids)
        peak = max(peak, layer.n_in * item_in + layer.n_out * item_out)
    return peak


def _profile(entry: dict[str, Any]) -> DeviceProfile:
    return DeviceProfile(
        name=entry["name"],
        kind=entry["class"],
        core=entry["core"],
        clock_hz=entry["clock_hz"],
        ram_bytes=entry["sram_bytes"],
        flash_bytes=entry["flash_bytes"],
        cache_bytes=entry.get("cache_bytes"),
        macs_per_cycle=entry["macs_per_cycle"],
        bandwidth_bytes_per_s=entry["mem_bandwidth_bytes_per_s"],
        layer_overhead_s=entry["per_layer_overhead_s"],
        active_power_w=entry["active_power_w"],
        kernel_tier=entry.get("kernel_tier"),
        source=entry["source"],
        confidence=entry["confidence"],
        published=tuple(entry.get("published_ad", ())),
    )


def _latency(model: Model, profile: DeviceProfile) -> float:
    """The roofline of the module's docstring. Weights that all fit the cache are not fetched again for each row."""
    cached = profile.cache_bytes is not None and weight_bytes(model) <= profile.cache_bytes
    seconds = 0.0
    for layer in model.layers:
        work = layer.operations if isinstance(layer, Stage) else layer.macs * _products(layer)
        compute = work / (profile.macs_per_cycle[_rate(layer)] * profile.clock_hz)
        fetch = 0.0
        if profile.bandwidth_bytes_per_s is not None and not cached:
            arrays = layer.arrays().values() if isinstance(layer, Stage) else [layer.arrays()["weight"]]
            fetch = sum(array.nbytes for array in arrays) / profile.bandwidth_bytes_per_s
        seconds += max(compute, fetch) + profile.layer_overhead_s
    return seconds


def _products(layer: Layer) -> int:
    """With each weight: codes of more than 8 bits are multiplied byte by byte."""
    return 2 if isinstance(layer, QuantizedDense) and layer.input.bits > FEWEST_BITS else 1


def _rate(layer: Layer) -> str:
    """The profile's name for the arithmetic of a layer."""
    is_integer = isinstance(layer, (QuantizedDense, DynamicQuantizedDense))  # of 4 bits too: unpacked on the way
    return "int8" if is_integer else layer.precision


def _why_not(profile: DeviceProfile, flash: int, ram: int) -> str:
    reasons = []
    if profile.flash_bytes is not None and flash > profile.flash_bytes:
        reasons.append(
            f"flash: needs {flash:,} B, has {profile.flash_bytes:,} B, missing {flash - profile.flash_bytes:,} B"
        )
    if ram > profile.ram_bytes:
        reasons.append(f"RAM: needs {ram:,} B, has {profile.ram_bytes:,} B, missing {ram - profile.ram_bytes:,} B")
    return "; ".join(reasons)


def _weakest(profile: DeviceProfile, model: Model) -> str:
    """The least certain figure behind a prediction, as "field: confidence"."""
    fields = [f"macs_per_cycle.{_rate(layer)}" for layer in model.layers]
    fields += ["per_layer_overhead_s", "mem_bandwidth_bytes_per_s"]
    known = [(field, profile.confidence[field]) for field in fields if field in profile.confidence]
    if not known:
        return "no confidence stated"
    field, confidence = min(known, key=lambda item: _rank(item[1]))
    return f"{field}: {confidence}"


def _rank(confidence: str) -> int:
    """0 for an estimate, 1 for a figure of another chip or one that was derived, 2 for a measured one."""
    if "estimate" in confidence.lower():
        return 0
    return 2 if confidence.strip() in ("measured", "board measured") else 1
