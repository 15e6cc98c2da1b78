import statistics
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import InputError, devices, estimate
from edge_runtime.device_profiles import activation_bytes, weight_bytes
from export.quantizer import quantize
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
