import numpy as np
import pytest

from edge_runtime import Limits
from edge_runtime.plan_choice import TILES, _cost, make_plan, smallest_plan
from export.quantizer import quantize
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


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
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


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_little_more_than_the_least_ends_tiles_of_one_row(precision):
    """The slowest plan is for those alone who have no byte more: 2 KiB give tiles of more than one row."""
    model = network("small", precision)
    smallest = smallest_plan(model, Limits())
    assert [step.tile_rows for step in smallest.steps] == [1, 1]
    plan = make_plan(model, Limits(ram_bytes=smallest.total_bytes + 2048))
    assert all(step.tile_rows > 1 for step in plan.steps if step.lean)


@pytest.mark.parametrize(("most", "block"), [(1, 1), (2, 2), (3, 2), (100, 64), (300, 256)])
def test_a_batch_limit_bounds_the_block(most, block):
    """By the power of two below it: a larger block would never be filled."""
    assert make_plan(network("small", "int8"), Limits(max_batch=most)).block == block
    assert make_plan(network("small", "int8"), Limits(max_batch=most, ram_bytes=10**6)).block == block
