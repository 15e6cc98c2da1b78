from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import BudgetExceeded, Limits, Model
from edge_runtime.artifact.artifact import save_bytes
from edge_runtime.engine.budget import make_plan
from edge_runtime.engine.plan_choice import TILES, _copied, _cost, smallest_plan
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows

NETWORKS = {
    "small": [64, 32, 10],
    "deep": [64, 48, 32, 16, 32, 48, 64],
    "wide": [784, 512, 512, 10],
    "one layer": [300, 7],
    "one value": [1, 1],
}


def network(name, precision):
    sizes = NETWORKS[name]
    model = random_model(sizes, ["relu"] * (len(sizes) - 2) + ["softmax"])
    return quantize(model, random_rows(20, sizes[0]), precision, "minmax")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int4"])
@pytest.mark.parametrize("name", NETWORKS)
def test_more_memory_is_never_predicted_to_be_slower(name, precision):
    """40 budgets from the smallest plan to no limit: each plan fits, and is as fast as that of the budget before."""
    model = network(name, precision)
    free, last = make_plan(model, Limits()), np.inf
    for budget in np.geomspace(smallest_plan(model, Limits()).total_bytes, free.total_bytes, 40):
        plan = make_plan(model, Limits(ram_bytes=int(np.ceil(budget))))
        assert plan.total_bytes <= np.ceil(budget)
        cost = _cost(model, plan, 1) * _cost(model, plan, 256)
        assert cost <= last
        last = cost
    assert make_plan(model, Limits(ram_bytes=free.total_bytes)) == free


def test_a_budget_goes_to_blocks_before_it_goes_to_tiles_beyond_the_cache():
    """A quarter of what all copies take is enough for a block of 32 rows, in tiles that stay in the cache."""
    model = network("wide", "int8")
    plan = make_plan(model, Limits(ram_bytes=make_plan(model, Limits()).total_bytes // 4))
    assert plan.block >= 32
    assert all(
        step.tile_rows * layer.n_out * 4 <= TILES[0] for step, layer in zip(plan.steps, model.layers, strict=True)
    )


def test_a_lean_engine_without_a_budget_widens_as_much_as_stays_in_the_cache():
    """512 KiB of a matrix at a time; smaller matrices at once."""
    plan = make_plan(network("wide", "int8"), Limits(lean=True))
    assert [(step.lean, step.tile_rows) for step in plan.steps] == [(True, 256), (True, 256), (True, 512)]
    assert plan.block == 256


@pytest.mark.parametrize("precision", ["float16", "int8", "int4"])
def test_a_little_more_than_the_least_ends_tiles_of_one_row(precision):
    """The slowest plan is for those alone who have no byte more: 2 KiB give tiles of more than one row, or two."""
    model = network("small", precision)
    smallest = smallest_plan(model, Limits())
    least = 2 if precision == "int4" else 1  # of 4-bit weights a byte is two rows
    assert [step.tile_rows for step in smallest.steps] == [least, least]
    plan = make_plan(model, Limits(ram_bytes=smallest.total_bytes + 2048))
    assert all(step.tile_rows > least for step in plan.steps if step.lean)


@pytest.mark.parametrize(("most", "block"), [(1, 1), (2, 2), (3, 2), (100, 64), (300, 256)])
def test_a_batch_limit_bounds_the_block(most, block):
    """By the power of two below it: a larger block would never be filled."""
    assert make_plan(network("small", "int8"), Limits(max_batch=most)).block == block
    assert make_plan(network("small", "int8"), Limits(max_batch=most, ram_bytes=10**6)).block == block


def test_lean_under_a_budget_keeps_no_copy_though_there_is_room():
    """Every layer that can be widened at each run is, whatever the budget leaves; the largest block that fits."""
    model = quantize(random_model([64, 32, 10], ["relu", "linear"]), random_rows(50, 64), "int8", "minmax")
    free = make_plan(model, Limits(lean=True))
    for budget in (free.total_bytes, free.total_bytes * 10):
        plan = make_plan(model, Limits(lean=True, ram_bytes=budget))
        assert plan == free
        assert [step.lean for step in plan.steps] == [True, True]
    tight = make_plan(model, Limits(lean=True, ram_bytes=free.total_bytes - 1))
    assert [step.lean for step in tight.steps] == [True, True]
    assert tight.total_bytes < free.total_bytes


@pytest.mark.parametrize(("most", "block"), [(None, 256), (7, 7), (300, 300), (1, 1)])
def test_a_dynamic_batch_goes_through_whole(most, block):
    """Cut, it would have other answers: the block is the limit itself, and 256 where there is none."""
    model = quantize(random_model([4, 3, 2], ["relu", "linear"]), precision="int8-dynamic")
    assert make_plan(model, Limits(max_batch=most)).block == block
    assert make_plan(model, Limits(max_batch=most, ram_bytes=10**7)).block == block
    assert smallest_plan(model, Limits(max_batch=most)).block == block


def test_copies_of_float32_layers_are_given_up_first_then_the_smaller():
    """They save a call each; without the others a layer is widened at each run. The order decides who goes lean."""
    first = quantize(random_model([20, 30], ["linear"]), random_rows(50, 20), "float16").layers[0]
    middle = random_model([30, 40], ["relu"]).layers[0]
    last = quantize(random_model([40, 10], ["linear"]), None, "float16").layers[0]
    model = Model(tuple(replace(layer, name=name) for layer, name in zip((first, middle, last), "abc", strict=True)))
    assert _copied(model) == [1, 2, 0]
    small = replace(last, name="a", weight=np.ones((40, 9), "f2"), bias=np.zeros(9, "f4"))
    model = Model((small, random_model([9, 2], ["relu"]).layers[0]))
    assert _copied(model) == [1, 0]


def test_a_budget_is_kept_to_the_byte():
    """The smallest plan's bytes are enough and one less is not; each plan within a budget fits it."""
    model = network("small", "int8")
    least = smallest_plan(model, Limits()).total_bytes
    assert make_plan(model, Limits(ram_bytes=least)).total_bytes == least
    with pytest.raises(BudgetExceeded, match=f"needs {least:,} B, the budget is {least - 1:,} B, missing 1 B"):
        make_plan(model, Limits(ram_bytes=least - 1))
    free = make_plan(model, Limits()).total_bytes
    for budget in range(least, free, 997):
        assert make_plan(model, Limits(ram_bytes=budget)).total_bytes <= budget


def test_flash_is_kept_to_the_byte_whatever_the_ram():
    """The artifact's own size is enough, and one byte less is refused."""
    model = network("small", "int8")
    size = len(save_bytes(model))
    make_plan(model, Limits(flash_bytes=size))
    for ram in (None, 10**7):
        with pytest.raises(BudgetExceeded, match=f"has {size:,} B, the flash is {size - 1:,} B, missing 1 B"):
            make_plan(model, Limits(flash_bytes=size - 1, ram_bytes=ram))
