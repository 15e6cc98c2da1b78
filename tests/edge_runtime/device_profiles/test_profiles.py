import statistics
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import InputError, devices, estimate
from edge_runtime.device_profiles.c_footprint import c_code_bytes, c_ram_bytes
from edge_runtime.device_profiles.profiles import RUNTIME_BYTES, _profile, activation_bytes, find_device, weight_bytes
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows

# MLPerf Tiny anomaly detection: the autoencoder whose published times the profiles are checked against
AUTOENCODER = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]


@pytest.fixture(scope="module")
def autoencoders():
    full = random_model(AUTOENCODER, ["relu"] * 9 + ["linear"])
    return {"float32": full, "int8": quantize(full, random_rows(50, 640))}


def test_each_profile_is_complete_and_sourced():
    """14 profiles; each rate, clock and size is positive and has a source."""
    profiles = devices()
    assert len(profiles) == 14
    for profile in profiles.values():
        assert profile.clock_hz > 0
        assert profile.ram_bytes > 0
        assert min(profile.macs_per_cycle.values()) > 0
        assert set(profile.macs_per_cycle) == {"float32", "float16", "int8"}
        assert profile.source
        assert profile.confidence


@pytest.mark.parametrize("name", ["stm32l4r5", "stm32u575", "stm32h7a3", "renesas_ra8d1", "stm32g0b1"])
def test_predicted_time_is_within_30_percent_of_published_results(autoencoders, name):
    """int8, the median of the published results of the profile's own class of kernels."""
    profile = devices()[name]
    published = [
        row["ms"] for row in profile.published if row["tier"] == profile.kernel_tier and row["dtype"] == "int8"
    ]
    predicted = estimate(autoencoders["int8"], name).latency_s * 1e3
    assert predicted == pytest.approx(statistics.median(published), rel=0.30)


@pytest.mark.parametrize("name", ["stm32l4r5", "stm32u575", "stm32h7a3"])
def test_predicted_energy_is_within_35_percent_of_published_results(autoencoders, name):
    """int8, the median of the published energies of the profile's own class of kernels."""
    profile = devices()[name]
    published = [row["uj"] for row in profile.published if row["tier"] == profile.kernel_tier and row["uj"]]
    assert estimate(autoencoders["int8"], name).energy_j * 1e6 == pytest.approx(statistics.median(published), rel=0.35)


@pytest.mark.parametrize("name", ["stm32l4r5", "stm32h7a3"])
def test_int8_is_as_much_faster_as_was_measured(autoencoders, name):
    """Cortex-M4 and M7 with DSP: int8 is 2.8 to 5 times as fast as float32."""
    ratio = estimate(autoencoders["float32"], name).latency_s / estimate(autoencoders["int8"], name).latency_s
    assert 2.8 <= ratio <= 5.0


def test_what_does_not_fit_says_what_is_missing(autoencoders):
    """The float32 autoencoder (1.06 MB) does not fit the 512 KB flash of the G0B1; the int8 one does."""
    too_big = estimate(autoencoders["float32"], "stm32g0b1")
    assert not too_big.fits
    assert "flash: needs" in too_big.why_not
    assert "missing" in too_big.why_not
    fits = estimate(autoencoders["int8"], "stm32g0b1")
    assert fits.fits
    assert fits.why_not == ""


def test_bytes_are_counted_in_the_stored_dtypes():
    """Weights as stored; activations of the widest layer boundary, one byte each in int8."""
    full = random_model([64, 32, 10], ["relu", "softmax"])
    small = quantize(full, random_rows(20, 64))
    assert weight_bytes(full) == 4 * (64 * 32 + 32 + 32 * 10 + 10)
    assert weight_bytes(small) == 64 * 32 + 32 * 10 + 8 * 42
    assert activation_bytes(full) == 4 * 96
    assert activation_bytes(small) == 96


def test_weights_that_fit_the_cache_are_not_fetched_again():
    """A Pi 4's bandwidth counts for weights over its 1 MB cache only."""
    profile = devices()["raspberry_pi_4b"]
    slow_memory = replace(profile, bandwidth_bytes_per_s=1e6)
    small = random_model([64, 32, 10], ["relu", "softmax"])
    large = random_model([1024, 1024], ["linear"])
    assert estimate(small, slow_memory).latency_s == estimate(small, profile).latency_s
    assert estimate(large, slow_memory).latency_s > 10 * estimate(large, profile).latency_s


def test_an_unknown_device_lists_the_known_ones():
    """The message is the list."""
    with pytest.raises(InputError, match=r"'esp33' is not known; expected one of esp32, esp32_s3"):
        estimate(random_model([2, 2], ["relu"]), "esp33")


def test_the_weakest_figure_is_named():
    """A float16 rate is an estimate on every MCU, and the answer says so."""
    model = quantize(random_model([64, 32, 10], ["relu", "softmax"]), np.zeros((1, 64)), "float16")
    assert "estimate" in estimate(model, "stm32l4r5").weakest


ENTRY = {
    "name": "board",
    "class": "mcu",
    "core": "M99",
    "clock_hz": 1e6,
    "sram_bytes": 100_000,
    "flash_bytes": 200_000,
    "cache_bytes": 5_000,
    "macs_per_cycle": {"float32": 0.5, "float16": 0.25, "int8": 2.0},
    "mem_bandwidth_bytes_per_s": 4e5,
    "per_layer_overhead_s": 0.001,
    "active_power_w": 0.125,
    "kernel_tier": "vendor",
    "source": {"clock_hz": "data sheet"},
    "confidence": {"macs_per_cycle.int8": "measured"},
    "published_ad": [{"ms": 1.0}],
}
BOARD = _profile(ENTRY)
MCU, LINUX = RUNTIME_BYTES["mcu"], RUNTIME_BYTES["linux"]


def test_a_profile_is_read_field_by_field():
    """Each field from the entry of its name, and None or nothing for those that may be missing."""
    assert vars(_profile(ENTRY)) == {
        "name": "board",
        "kind": "mcu",
        "core": "M99",
        "clock_hz": 1e6,
        "ram_bytes": 100_000,
        "flash_bytes": 200_000,
        "cache_bytes": 5_000,
        "macs_per_cycle": ENTRY["macs_per_cycle"],
        "bandwidth_bytes_per_s": 4e5,
        "layer_overhead_s": 0.001,
        "active_power_w": 0.125,
        "kernel_tier": "vendor",
        "source": ENTRY["source"],
        "confidence": ENTRY["confidence"],
        "published": ({"ms": 1.0},),
    }
    rest = {key: value for key, value in ENTRY.items() if key not in ("cache_bytes", "kernel_tier", "published_ad")}
    bare = _profile(rest)
    assert (bare.cache_bytes, bare.kernel_tier, bare.published) == (None, None, ())


def standardized(sizes, precision):
    model = random_model(sizes, ["relu"] * (len(sizes) - 2) + ["linear"], standardize=True)
    return quantize(model, random_rows(20, sizes[0]), precision, "minmax")


@pytest.mark.parametrize(("precision", "rate"), [("float32", 0.5), ("float16", 0.25), ("int8", 2), ("int8-dynamic", 2)])
def test_the_time_of_a_layer_is_that_of_its_sums_or_of_its_weights(precision, rate):
    """Computed or fetched, whichever takes longer, and an overhead for each layer; int8-dynamic at the rate of int8."""
    model = standardized([30, 20, 10], precision)
    compute = [600 / (rate * 1e6), 200 / (rate * 1e6)]
    fetch = [layer.weight.nbytes / 4e5 for layer in model.layers]
    nothing_cached = replace(BOARD, cache_bytes=None)
    expected = sum(max(pair) for pair in zip(compute, fetch, strict=True)) + 0.002
    assert estimate(model, nothing_cached).latency_s == pytest.approx(expected, rel=1e-12)
    assert estimate(model, nothing_cached).energy_j == pytest.approx(0.125 * expected, rel=1e-12)
    without = replace(nothing_cached, bandwidth_bytes_per_s=None, active_power_w=None)
    assert estimate(model, without).latency_s == pytest.approx(sum(compute) + 0.002, rel=1e-12)
    assert estimate(model, without).energy_j is None


def test_weights_of_the_size_of_the_cache_are_cached_and_one_byte_more_is_not():
    """They are fetched for each row only if they do not fit."""
    model = standardized([30, 20, 10], "int8")
    nbytes = weight_bytes(model)
    cached, fetched = (estimate(model, replace(BOARD, cache_bytes=size)) for size in (nbytes, nbytes - 1))
    assert cached.latency_s == pytest.approx(800 / 2e6 + 0.002)
    assert fetched.latency_s > cached.latency_s


def test_bytes_of_a_model_are_those_of_its_arrays():
    """The standardization's two arrays count, and int8 takes bytes within and floats at its end."""
    model = standardized([30, 20, 10], "int8")
    assert weight_bytes(model) == 600 + 200 + 8 * 30 + 2 * 4 * 30
    assert activation_bytes(model) == max(30 + 20, 20 + 4 * 10)
    wide = standardized([3, 2, 100], "int8")
    assert activation_bytes(wide) == 2 + 4 * 100
    assert activation_bytes(standardized([3, 100, 2], "float16")) == 4 * 103
    assert activation_bytes(standardized([3, 100, 2], "int8-dynamic")) == 4 * 103


@pytest.mark.parametrize("over", [-1, 0, 1, 1000])
def test_a_model_fits_to_the_byte(over):
    """What is left may be 0; one byte more is missing, and is said with need and have, for RAM and for flash."""
    model = standardized([30, 20, 10], "int8")
    ram, flash = c_ram_bytes(model), c_code_bytes(model) + weight_bytes(model)
    found = estimate(model, replace(BOARD, ram_bytes=ram - over))
    assert (found.fits, found.ram_bytes, found.ram_left_bytes) == (over <= 0, ram, -over)
    missing = f"RAM: needs {ram:,} B, has {ram - over:,} B, missing {over:,} B"
    assert found.why_not == ("" if over <= 0 else missing)
    found = estimate(model, replace(BOARD, flash_bytes=flash - over))
    assert (found.fits, found.flash_bytes, found.flash_left_bytes) == (over <= 0, flash, -over)
    both = estimate(model, replace(BOARD, flash_bytes=flash - 7, ram_bytes=ram - 8))
    assert both.why_not.count("; ") == 1
    assert "missing 7 B; RAM" in both.why_not
    assert both.why_not.startswith("flash: needs")


def test_what_is_not_written_as_c_needs_a_runtime():
    """An int8-dynamic model on a microcontroller: as with an interpreter."""
    model = standardized([30, 20, 10], "int8-dynamic")
    found = estimate(model, BOARD)
    assert found.ram_bytes == MCU["ram"] + activation_bytes(model)
    assert found.flash_bytes == MCU["flash"] + weight_bytes(model)


def test_codes_of_more_than_8_bits_take_two_products_each():
    """There is no C for them either, and their bytes are multiplied one by one."""
    fine, coarse = (standardized([30, 20, 10], precision) for precision in ("int8-a16", "int8"))
    found = estimate(fine, BOARD)
    assert found.precision == "int8-a16"
    assert found.ram_bytes == MCU["ram"] + activation_bytes(fine)
    slow = replace(BOARD, layer_overhead_s=0.0)
    assert estimate(fine, slow).latency_s == pytest.approx(2 * estimate(coarse, slow).latency_s)


def test_weights_are_held_in_ram_where_there_is_no_flash():
    """A Linux board loads the model into memory, beside Python; what is left of its flash is not known."""
    model = standardized([30, 20, 10], "float32")
    linux = replace(BOARD, kind="linux", flash_bytes=None, ram_bytes=10**9)
    found = estimate(model, linux)
    assert found.ram_bytes == LINUX["ram"] + activation_bytes(model) + weight_bytes(model)
    assert (found.flash_bytes, found.flash_left_bytes) == (LINUX["flash"] + weight_bytes(model), None)
    assert (found.fits, found.why_not) == (True, "")
    assert found.ram_left_bytes == 10**9 - found.ram_bytes


def test_an_estimate_says_what_it_is_of():
    """The device, the model's precision, and the class of kernels: native ones where the profile names none."""
    found = estimate(standardized([4, 3], "int8"), BOARD)
    assert (found.device, found.precision, found.kernel_class) == ("board", "int8", "vendor kernels")
    native = estimate(standardized([4, 3], "float16"), replace(BOARD, kernel_tier=None))
    assert (native.precision, native.kernel_class) == ("float16", "native kernels, one core")


@pytest.mark.parametrize(
    ("confidence", "weakest"),
    [
        ({}, "no confidence stated"),
        ({"clock_hz": "estimate"}, "no confidence stated"),
        ({"macs_per_cycle.int8": "measured"}, "macs_per_cycle.int8: measured"),
        ({"macs_per_cycle.int8": "measured", "per_layer_overhead_s": "derived"}, "per_layer_overhead_s: derived"),
        (
            {"macs_per_cycle.int8": "derived", "mem_bandwidth_bytes_per_s": "an Estimate"},
            "mem_bandwidth_bytes_per_s: an Estimate",
        ),
        (
            {"macs_per_cycle.int8": "board measured ", "per_layer_overhead_s": "measured on another"},
            "per_layer_overhead_s: measured on another",
        ),
        ({"macs_per_cycle.float32": "estimate", "macs_per_cycle.int8": "derived"}, "macs_per_cycle.int8: derived"),
    ],
)
def test_the_weakest_figure_is_the_least_certain_of_those_that_count(confidence, weakest):
    """An estimate before what was derived before what was measured, of the rates that the model needs."""
    assert estimate(standardized([4, 3], "int8"), replace(BOARD, confidence=confidence)).weakest == weakest


def test_the_list_of_devices_is_the_callers_own():
    """Emptying it takes no profile from anyone else."""
    devices().clear()
    assert len(devices()) == 14
    assert find_device("esp32") is devices()["esp32"]
    assert estimate(standardized([4, 3], "int8"), "esp32") == estimate(standardized([4, 3], "int8"), devices()["esp32"])
