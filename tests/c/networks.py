"""Networks that are hard to write in C: every remainder of widths and every zero point, ties, tables and slopes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime import Engine, Model, Standardization, TestVectors
from export.quantization import quantize
from tests.adversarial import adversarial_model, adversarial_rows, in_int4
from tests.networks import random_model, random_rows

WIDEST = 300
BLOCK = 16  # the most outputs or inputs that any kernel takes together
NETWORKS = 300
# What the budgets are stated for, and what other tools are measured with.
SIZES = {"mlp784": (784, 64, 10), "ae640": (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)}


def sizes_of(seed: int) -> list[int]:
    """2 to 5 widths of 1 to 300, mostly small ones; 16 seeds have every remainder modulo 16 at the input."""
    rng = np.random.default_rng(seed)
    depth = 1 + seed % 4
    blocks = np.where(rng.random(depth + 1) < 0.7, rng.integers(0, 3, depth + 1), rng.integers(0, 19, depth + 1))
    remainders = rng.integers(0, BLOCK, depth + 1)
    remainders[0] = seed % BLOCK
    return [int(size) for size in np.clip(blocks * BLOCK + remainders, 1, WIDEST)]


def c_network(seed: int) -> tuple[Model, np.ndarray]:
    """An adversarial network with two stored rows, and rows for it; 256 seeds have every zero point at the input.

    Of every fourth one the weights are of 4 bits, and of another fourth those of every other layer.
    """
    model = adversarial_model(seed, sizes_of(seed), seed % 256)
    if seed % 2:
        model = in_int4(model, every=1 if seed % 4 == 1 else 2)
    rows = adversarial_rows(model, seed)
    stored = np.nan_to_num(rows[:2], nan=0.0, posinf=1e30, neginf=-1e30)
    return model.with_test_vectors(TestVectors(stored, Engine(model).logits(stored))), rows


def float_network(name: str) -> tuple[Model, np.ndarray]:
    """One of SIZES with He weights and ReLU, and normal rows to calibrate it on."""
    sizes = SIZES[name]
    activations = ["relu"] * (len(sizes) - 2) + ["linear"]
    return random_model(list(sizes), activations, weight_scale=np.sqrt(2)), random_rows(64, sizes[0])


def measured_network(name: str) -> Model:
    """One of SIZES in int8, or in the precision that stands behind its name."""
    name, _, precision = name.partition(" ")
    full, rows = float_network(name)
    return quantize(full, rows, precision or "int8", "minmax")


def featured_networks() -> list[Model]:
    """Small ones that have, together, all that the writer knows: remainders of every kind, tables, slopes, one layer,
    one output, standardization by features and by one number, names that C cannot spell, last activations.
    """
    odd_names = ('"quoted" \\', "??/ trigraph", "Grün */ 100 %", "two\nlines")
    return [
        _featured((23, 22, 7), ["relu", "linear"]),
        replace(_featured((9, 6, 5, 4), ["tanh", "relu", "softmax"], standardize=True), class_names=odd_names),
        _featured((5, 8, 6, 3), ["leaky_relu", "gelu", "linear"]),
        _featured((6, 1), ["sigmoid"], one_scale=True),
        _featured((4, 4), ["tanh"]),
        _featured((23, 22, 7), ["relu", "linear"], precision="int4"),
        _featured((7, 6, 5), ["tanh", "linear"], keep={"dense0": "int4"}),
    ]


def _featured(sizes, activations, standardize=False, one_scale=False, precision="int8", keep=None) -> Model:
    model = random_model(list(sizes), activations, standardize=standardize)
    if one_scale:
        model = replace(model, preprocessing=Standardization(np.ones(1, np.float32), np.full(1, 0.5, np.float32)))
    return quantize(model, random_rows(64, sizes[0]), precision, "minmax", keep=keep, test_vectors=2)
