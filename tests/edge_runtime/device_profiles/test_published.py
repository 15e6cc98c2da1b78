"""The cost model beside published results (published.json, with sources), beyond those of the profiles themselves."""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import devices, estimate
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows

PUBLISHED = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
NETS = PUBLISHED["small_nets"]
BOARDS = {board["board"]: board for board in NETS["boards"]}
ONE_LIBRARY = {board["board"]: board for board in PUBLISHED["one_library"]["boards"]}
NETWORKS = {
    "mlperf_tiny_ad": [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640],
    "mlp_784_128_64_10": [784, 128, 64, 10],
}
FITTED_ON = ("Iris", "Digits")  # the other data sets are held out


@pytest.fixture(scope="module")
def networks():
    """{(name, precision): model}."""
    models = {}
    for name, sizes in NETWORKS.items():
        full = random_model(sizes, ["relu"] * (len(sizes) - 2) + ["linear"])
        for precision in ("float32", "float16", "int8"):
            models[name, precision] = quantize(full, random_rows(30, sizes[0]), precision, "minmax")
    return models


def small_nets(board):
    """(data set, float32 model, published microseconds) of the up to twelve nets that a board ran."""
    for data, n_in, n_out, times in zip(
        NETS["data"], NETS["inputs"], NETS["outputs"], board["microseconds"], strict=True
    ):
        for hidden, time in zip(NETS["hidden"], times, strict=True):
            if time is not None:
                sizes = [n_in, *hidden, n_out]
                yield data, random_model(sizes, ["relu"] * len(hidden) + ["linear"]), time


def fitted(board):
    """(cycles per MAC, per layer, per inference) by least squares of the relative errors on two of the data sets."""
    rows, cycles = [], []
    for data, model, time in small_nets(board):
        if data in FITTED_ON:
            rows.append([model.macs, len(model.layers), 1])
            cycles.append(time * board["mhz"])
    weights = 1 / np.array(cycles)
    return np.linalg.lstsq(np.array(rows) * weights[:, None], np.ones(len(rows)), rcond=None)[0]


def profile_of(mhz, macs_per_cycle, layer_cycles=0.0):
    """A profile of these constants alone."""
    return replace(
        devices()["stm32l4r5"],
        name="published",
        clock_hz=mhz * 1e6,
        macs_per_cycle=macs_per_cycle,
        layer_overhead_s=layer_cycles / (mhz * 1e6),
        bandwidth_bytes_per_s=None,
    )


@pytest.mark.parametrize("name", BOARDS)
def test_small_nets_are_predicted_from_constants_fitted_on_other_data(name):
    """Twelve nets a board, half held out: each within 40 %, on average within 10 % (the Nano 33: 18.5 %)."""
    board = BOARDS[name]
    mac_cycles, layer_cycles, run_cycles = fitted(board)
    profile = profile_of(board["mhz"], {"float32": 1 / mac_cycles}, layer_cycles)
    errors = []
    for data, model, time in small_nets(board):
        predicted = estimate(model, profile).latency_s * 1e6 + run_cycles / board["mhz"]
        assert predicted == pytest.approx(time, rel=0.40), (data, model.layer_sizes)
        if data not in FITTED_ON:
            errors.append(abs(predicted / time - 1))
    assert len(errors) >= 5
    assert statistics.mean(errors) <= (0.185 if name == "Nano33BLE M4" else 0.10)


@pytest.mark.parametrize(
    ("device", "boards"),
    [
        ("rp2040", ["RPi Pico"]),
        ("esp32", ["ESP32"]),
        ("stm32l4r5", ["Nano33BLE M4", "Feather M4"]),
        ("stm32h7a3", ["Nucleo H743", "Portenta M7", "Teensy4.0"]),
    ],
)
def test_the_profiles_constants_are_those_of_the_fit(device, boards):
    """float32 cycles per MAC and cycles per layer: the median over the boards with that core."""
    profile = devices()[device]
    fits = np.array([fitted(BOARDS[name]) for name in boards])
    mac_cycles, layer_cycles, _ = np.median(fits, axis=0)
    assert 1 / profile.macs_per_cycle["float32"] == pytest.approx(mac_cycles, rel=0.005)
    assert profile.layer_overhead_s * profile.clock_hz == pytest.approx(layer_cycles, rel=0.005)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("PSoC 62 (Cortex-M4)", 2.8, 3.41), ("STM32H7A3 (Cortex-M7)", 3.84, 4.83), ("RH850-F1KM", 0.8, 1.1)],
)
def test_int8_is_as_much_faster_as_one_library_measured(networks, name, low, high):
    """With that library's rates: 2.8 to 3.4x on an M4, 3.85 to 4.8x on an M7, 0.8 to 1.1x without SIMD."""
    board, model = ONE_LIBRARY[name], networks["mlperf_tiny_ad", "float32"]
    rates = [{"float32": _rate(board, board["float32"]), "int8": _rate(board, ms)} for ms in board["int8"]]
    for rate in rates:
        profile = profile_of(board["mhz"], rate)
        ratio = estimate(model, profile).latency_s / estimate(networks["mlperf_tiny_ad", "int8"], profile).latency_s
        assert low <= ratio <= high


def _rate(board, milliseconds):
    """MACs per cycle of the anomaly-detection network."""
    return 264_192 / (milliseconds * 1e-3 * board["mhz"] * 1e6)


@pytest.mark.parametrize(("device", "low", "high"), [("stm32l4r5", 2.8, 4.8), ("stm32h7a3", 3.85, 4.8)])
def test_int8_of_the_profiles_is_inside_what_was_measured(networks, device, low, high):
    """The M7 inside its own range. The M4 profile's float32 kernels are plain C and its int8 ones tuned: all M4 and M7
    results together are its range, at whose upper end it is.
    """
    times = [estimate(networks["mlperf_tiny_ad", kind], device).latency_s for kind in ("float32", "int8")]
    assert low <= times[0] / times[1] <= high


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("device", devices())
def test_predictions_are_those_that_were_published_with_the_constants(networks, device, network):
    """Milliseconds of two networks in three precisions, and which MCU they fit as C."""
    expected = PUBLISHED["devices"][device]
    for precision, milliseconds in expected["predicted_ms"][network].items():
        found = estimate(networks[network, precision], device)
        assert found.latency_s * 1e3 == pytest.approx(milliseconds, rel=0.005, abs=0.0006)
        if expected["fits"] is not None:
            assert found.fits == expected["fits"][network][precision]


def test_what_is_left_is_what_the_device_has_without_the_need(networks):
    """Negative bytes say how much is missing; a device whose weights lie in RAM has no flash to fill."""
    for model in networks.values():
        for name, profile in devices().items():
            found = estimate(model, name)
            assert found.ram_left_bytes == profile.ram_bytes - found.ram_bytes
            flash = found.flash_left_bytes
            assert flash == (None if profile.flash_bytes is None else profile.flash_bytes - found.flash_bytes)
            assert found.fits == (found.ram_left_bytes >= 0 and (flash is None or flash >= 0))
            assert bool(found.why_not) != found.fits
