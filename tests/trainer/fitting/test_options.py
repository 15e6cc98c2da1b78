"""The list of training settings is `TrainingOptions`; whoever names settings names these."""

from __future__ import annotations

import dataclasses
import inspect
import types

import numpy as np

from trainer import NeuralNetwork, NeuralNetworkModel
from trainer.cli import train
from trainer.fitting.options import Defaults, TrainingOptions
from trainer.fitting.run_setup import describe_run
from trainer.losses import choose_loss
from trainer.recipe import fit_network

SETTINGS = {field.name for field in dataclasses.fields(TrainingOptions)}
DATA = ("self", "x", "y", "sample_weight", "validation_data")
OF_ONE_RUN = {"checkpoint", "resume", "on_epoch"}  # no parameters of an estimator
# settings of `fit` that the command does not have, and why
NOT_TYPED = {
    "validation_share": "the command cuts all three parts itself",
    "min_delta": "patience alone says when to stop",
    "shuffle": "rows are always shuffled",
    "loss": "chosen by the target",
    "on_epoch": "the command shows its own progress",
}
# settings that a checkpoint need not state as they are
NOT_STATED = {
    "epochs": "a run may be made longer, unless its schedule depends on it",
    "loss": "stated with its parameters",
    "optimizer": "stated with its parameters",
    "schedule": "stated with its parameters",
    **dict.fromkeys(OF_ONE_RUN, "where a run is kept, and who is told of it"),
}


def parameters(function):
    """Its settings by name."""
    found = dict(inspect.signature(function).parameters)
    return {name: found[name] for name in found if name not in DATA}


def test_fit_takes_the_settings_and_no_others():
    """By keyword, each of them."""
    found = parameters(NeuralNetworkModel.fit)
    assert set(found) == SETTINGS
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in found.values())


def test_the_estimator_has_them_as_parameters_with_the_same_defaults():
    """All but what belongs to one run."""
    fit, made = parameters(NeuralNetworkModel.fit), parameters(NeuralNetwork.__init__)
    assert set(made) >= SETTINGS - OF_ONE_RUN
    assert {name: made[name].default for name in SETTINGS - OF_ONE_RUN} == {
        name: fit[name].default for name in SETTINGS - OF_ONE_RUN
    }


def test_the_command_has_an_option_for_each_and_hands_it_on():
    """But for those whose reason stands above."""
    typed = {option.name for option in train.params}
    assert SETTINGS - typed == set(NOT_TYPED)
    options = {name: f"the {name}" for name in SETTINGS - {"on_epoch"}}
    given = {}
    network = types.SimpleNamespace(fit=lambda x, y, **settings: given.update(settings))
    rows = types.SimpleNamespace(x=0, y=0)
    fit_network(network, types.SimpleNamespace(train=rows, validation=rows), options, on_epoch=print)
    assert given == {**options, "validation_data": (0, 0), "on_epoch": print}


def test_a_checkpoint_states_all_that_decides_a_result():
    """Each setting, so that a refusal names it."""
    network = NeuralNetworkModel([2, 2], ["softmax"])
    values = {name: parameter.default for name, parameter in parameters(NeuralNetworkModel.fit).items()}
    options = TrainingOptions.of(**{**values, "checkpoint": "c"})
    rows = network._rows(np.zeros((2, 2)), np.array([0, 1]), choose_loss(None, network.final_activation, 2))
    stated = set(describe_run(network, options, choose_loss(None, network.final_activation, 2), rows, None))
    assert SETTINGS - stated == set(NOT_STATED) - {"epochs", "loss", "optimizer", "schedule"}


def test_one_place_states_the_defaults():
    """The network, its estimator and the command take them from there; nobody states a number of its own."""
    stated = dataclasses.asdict(Defaults())
    typed = {option.name: option.default for option in train.params}
    for name, value in stated.items():
        if name not in NOT_TYPED:
            assert typed[name] == (",".join(map(str, value)) if name == "hidden" else value), name
    for made in (NeuralNetworkModel.__init__, NeuralNetworkModel.fit, NeuralNetwork.__init__):
        found = {name: parameter.default for name, parameter in inspect.signature(made).parameters.items()}
        named = {"l2_lambda": "l2", "dropout_rate": "dropout"}
        shared = {name: named.get(name, name) for name in found if named.get(name, name) in stated}
        assert shared
        assert {name: found[name] for name in shared} == {name: stated[shared[name]] for name in shared}
