"""Float32 and float16 layers, stages without weights, and int8 layers between them."""

import subprocess

import numpy as np
import pytest

from edge_runtime import Activation, Elementwise, Engine, LayerNorm, Model, QuantizedDense, QuantParams, TestVectors
from edge_runtime.reference import output_bound
from export import quantize
from export.c_writer import c_files
from tests.host_c import WARNINGS, build, compiler, outputs, reference_logits, same_bits
from tests.networks import random_model, random_rows

N = 6
RNG = np.random.default_rng(5)
EPSILON = float(np.float32(1e-5))


def some(*shape):
    return RNG.normal(size=shape).astype(np.float32)


LOW = np.array([-np.inf, -1, 0, -2, -3, -1], np.float32)
MAP = Elementwise("map", some(N), some(N), Activation("relu"), low=LOW, high=np.maximum(LOW + 7, 1), slope=some(N))
SHIFT = Elementwise("shift", np.ones(N, np.float32), some(N), Activation("linear"), high=np.full(N, 2, np.float32))
NORM = LayerNorm("norm", some(N), some(N), EPSILON, Activation("tanh"))
RMS = LayerNorm("rms", some(N), some(N), EPSILON, Activation("linear"), centered=False)
DENSE = random_model([N, N, N], ["relu", "linear"]).layers


def int8_layer(name="int8"):
    """An int8 layer that takes and gives float values, as those beside stages do."""
    weight = RNG.integers(-127, 128, (N, N)).astype(np.int8)
    multiplier = RNG.uniform(1e-4, 1e-3, N).astype(np.float32)
    bias = RNG.integers(-999, 999, N).astype(np.int32)
    return QuantizedDense(name, weight, bias, multiplier, QuantParams(0.03125, 100), None, Activation("linear"))


CHAINS = {
    "map": (MAP,),
    "maps": (SHIFT, MAP),
    "norm": (NORM,),
    "everything": (MAP, DENSE[0], NORM, DENSE[1], RMS, SHIFT),
    "int8 between": (MAP, int8_layer(), SHIFT, int8_layer("other"), NORM),
    "int8 first": (int8_layer(), SHIFT, MAP),
}
MODELS = {name: Model(layers) for name, layers in CHAINS.items()}
for precision in ("float32", "float16"):
    for sizes, activations in {
        (13, 9, 7, 5): ["relu", "tanh", "softmax"],
        (5, 1): ["linear"],
        (300, 64, 10): ["relu", "linear"],
        (6, 6, 6, 6): ["gelu", "mish", "leaky_relu"],
    }.items():
        for standardize in (False, True):
            model = random_model(sizes, activations, standardize=standardize)
            small = quantize(model, random_rows(50, sizes[0]), precision)
            MODELS[f"{precision} {sizes} {standardize}"] = small


@pytest.mark.parametrize("name", MODELS)
def test_values_are_within_the_bound_of_the_weights(tmp_path, name):
    """As those of any other engine; the self-test, with its own bounds, passes."""
    model, rows = MODELS[name], random_rows(50, MODELS[name].n_in, seed=3)
    contents = c_files(with_vectors(model, rows[:3]), "m")
    found = outputs(build(tmp_path, contents, "-O2"), rows)
    assert (np.abs(found - Engine(model).run(rows)) <= output_bound(model, rows, activated=True)).all()
    assert subprocess.run([build(tmp_path, contents, "-O2", "-DM_SELFTEST")], check=False).returncode == 0


def with_vectors(model, rows):
    return model.with_test_vectors(TestVectors(rows, reference_logits(model, rows)))


@pytest.mark.parametrize("flags", [["-std=gnu11", "-O3", "-march=native"], ["-O0"]], ids=["fused", "plain"])
@pytest.mark.parametrize("name", ["map", "maps", "int8 first"])
def test_stages_that_scale_and_limit_are_exact(tmp_path, name, flags):
    """A compiler that may fuse a product and a sum into one rounding does not: two roundings are the engine's."""
    model, rows = MODELS[name], random_rows(400, N, seed=8)
    rows[0, 0], rows[1, 1], rows[2, 2] = np.nan, np.inf, -np.inf
    found = outputs(build(tmp_path, c_files(model, "m"), *flags), rows)
    expected = model.final_activation(reference_logits(model, rows))
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    assert same.all()


def test_a_float16_weight_is_the_float32_of_its_value(tmp_path):
    """Every one of them, subnormal ones too: times 1, the output is the weight."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = bits.view(np.float16)
    values = values[np.isfinite(values)][:, None]
    model = random_model([1, len(values)], ["linear"])
    layer = model.layers[0]
    half = type(layer)("half", values.T.copy(), np.zeros(len(values), np.float32), Activation("linear"))
    found = outputs(build(tmp_path, c_files(Model((half,)), "m"), "-O2"), np.ones((1, 1), np.float32))
    assert np.array_equal(found[0], values[:, 0].astype(np.float32))


@pytest.mark.parametrize(("cc", "standard"), [("gcc", "c99"), ("g++", "c++17"), ("clang", "c11"), ("clang++", "c++17")])
@pytest.mark.parametrize("name", ["everything", "int8 between", "float16 (13, 9, 7, 5) True"])
def test_no_compiler_warns_of_floats(tmp_path, cc, standard, name):
    """Of none of the kinds of layers."""
    suffix = ".cc" if "++" in standard else ".c"
    for file, content in c_files(with_vectors(MODELS[name], random_rows(2, MODELS[name].n_in)), "m").items():
        (tmp_path / file.replace(".c", suffix)).write_bytes(content)
    command = [compiler(cc), f"-std={standard}", "-O2", "-DM_SELFTEST", *WARNINGS, "-c", tmp_path / f"m{suffix}"]
    done = subprocess.run([*command, "-o", tmp_path / "m.o"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_exact_by_luck():
    """The header says which models have the engine's bits, and the self-test compares those bit by bit."""
    rows = random_rows(3, N)
    exact = c_files(with_vectors(Model((int8_layer(),)), rows), "m")
    near = c_files(with_vectors(MODELS["everything"], rows), "m")
    assert b"The bits must be the same" in exact["m.h"]
    assert b"within the bound" in near["m.h"]


def test_same_bits_tells_zeros_apart():
    """The helper of these tests compares bits and not values."""
    assert not same_bits(np.zeros((1, 1), np.float32), -np.zeros((1, 1), np.float32))
