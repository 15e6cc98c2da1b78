from dataclasses import replace

import pytest

from edge_runtime import Model
from export import quantize
from tests.networks import random_model, random_rows
from tests.trainer.quantized import coarse
from trainer import ConfigurationError
from trainer.network import check_activations, source_doubts

SIZES, ACTIVATIONS = [11, 9, 7, 4], ["relu", "leaky_relu", "softmax"]


@pytest.mark.parametrize("precision", ["int8", "int4", "int8-a16"])
@pytest.mark.parametrize("seed", range(5))
def test_the_model_it_was_made_of_is_never_doubted(precision, seed):
    """Equalized or not, with every kind of rounding, and with few steps left of its weights."""
    model, x = random_model(SIZES, ACTIVATIONS, seed, True), random_rows(200, 11)
    for equalization, rounding in ((True, "nearest"), (False, "nearest"), (True, "compensated")):
        small = quantize(model, x, precision, "minmax", equalization=equalization, rounding=rounding)
        assert source_doubts(model, small) == []
        assert precision != "int8" or source_doubts(model, coarse(small, 90)) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_model_of_other_weights_is_doubted(seed):
    """Of the same layers, names and activations."""
    model, x = random_model(SIZES, ACTIVATIONS, seed), random_rows(200, 11)
    (doubt,) = source_doubts(random_model(SIZES, ACTIVATIONS, seed + 100), quantize(model, x, method="minmax"))
    assert "quantized was hardly made of this model: " in doubt
    assert doubt.endswith("give the float model that it was made of")


def test_layers_that_stayed_floats_are_not_asked():
    """Their weights are the model's own already; a model without any in integers has nothing to be doubted."""
    model = random_model(SIZES, ACTIVATIONS, 0)
    assert source_doubts(random_model(SIZES, ACTIVATIONS, 1), model) == []


@pytest.mark.parametrize(
    ("index", "activation", "said"),
    [(0, "tanh", "relu, the model's has tanh"), (1, "relu", r"leaky_relu\(.*\), the model's has relu")],
)
def test_another_activation_is_refused(index, activation, said):
    """With the layer and both activations."""
    model = random_model(SIZES, ACTIVATIONS, 0)
    small = quantize(model, random_rows(50, 11), method="minmax")
    layers = list(model.layers)
    layers[index] = replace(layers[index], activation=activation)
    with pytest.raises(ConfigurationError, match=f"layer 'dense{index}' of quantized has {said}; give the float model"):
        check_activations(Model(tuple(layers)), small)
    check_activations(model, small)
