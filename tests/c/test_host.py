"""Exported C on this machine: the engine's bits, whatever the compiler, its optimizations and its checks."""

import pytest

from export.quantization import quantize
from tests.c.builds import BUILDS
from tests.c.compilers import compiler
from tests.c.generated import answers, assert_bits, build_program, write_networks
from tests.c.networks import BLOCK, NETWORKS, WIDEST, c_network
from tests.networks import random_model
from trainer.datasets import load_dataset

FEW = 24  # of 300; `python -m benchmarks c --networks 300` tries them all


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The first of the adversarial networks and one that reads the bundled digits, their rows, and their C files."""
    digits = load_dataset("digits").x
    full = random_model([digits.shape[1], 32, 10], ["relu", "linear"], standardize=True)
    reader = quantize(full, digits[:256], "int8", "minmax")
    models, rows = zip(*map(c_network, range(FEW)), strict=True)
    folder = tmp_path_factory.mktemp("networks")
    models, rows = (*models, reader), (*rows, digits)
    return models, rows, folder, write_networks(models, folder)


@pytest.mark.parametrize("build", BUILDS)
def test_adversarial_networks_and_all_digits_have_the_engines_bits(build, networks):
    """By every function of the export; hidden layers by its self-test. Sanitizers see no error."""
    models, rows, folder, sources = networks
    name, *flags = BUILDS[build]
    program = build_program(compiler(name), folder, sources, *flags)
    assert_bits(answers([program], models, rows), models, rows)


def test_the_networks_have_every_remainder_and_every_zero_point():
    """At the input, at the output and between; sizes are 1 to 300."""
    models = [c_network(seed)[0] for seed in range(NETWORKS)]
    sizes = [model.layer_sizes for model in models]
    for place in (0, 1, -1):
        assert {size[place] % BLOCK for size in sizes} == set(range(BLOCK))
    assert {model.layers[0].input.zero_point for model in models} == set(range(256))
    assert min(map(min, sizes)) == 1
    assert max(map(max, sizes)) > WIDEST - BLOCK
