"""The batch that simulated hardware allows; that the count is what training takes is held in test_config.py."""

from __future__ import annotations

import warnings

import pytest

from edge_runtime import BudgetExceeded
from tests.trainer.samples import PLAIN, blobs, small_network
from trainer import HardwareLimitWarning, NeuralNetworkModel, PrecisionConfig
from trainer.fitting.simulation import MemoryCount, fitting_batch_size

MIB = 1 << 20


def count_of(fixed, each):
    """A count of `fixed` bytes of weights and `each` bytes for a row of a batch."""
    return lambda size: MemoryCount(fixed, 0, 0, 0, each * size, 0, 0)


def hardware(mib, limit=1000):
    return PrecisionConfig(enable_hardware_simulation=True, max_memory_mb=mib, batch_size_limit=limit)


def fitted(config, wanted, count):
    """The size, and the lines of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        size = fitting_batch_size(config, wanted, count)
    assert all(warning.category is HardwareLimitWarning for warning in caught)
    return size, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("fits", [1, 2, 3, 6, 7, 8, 63, 64])
def test_the_largest_batch_that_fits_is_taken(fits):
    """To the row: as many as the budget holds, its last byte included; what was wanted is not exceeded."""
    each = MIB // fits
    count = count_of(MIB - fits * each, each)
    assert count(fits).total == MIB
    size, told = fitted(hardware(1), 64, count)
    assert size == fits
    assert len(told) == (fits < 64)


def test_what_fits_is_taken_without_a_warning():
    """A budget and a limit that are just kept."""
    assert fitted(hardware(1, limit=32), 32, count_of(0, MIB // 32)) == (32, [])
    assert fitted(hardware(1), 1, count_of(0, MIB)) == (1, [])


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (5, 5), (31, 31)])
def test_the_limit_on_rows_is_kept(limit, expected):
    """Whatever memory there is."""
    assert fitted(hardware(64, limit), 32, count_of(0, 1000))[0] == expected


def test_a_warning_says_what_was_wanted_and_what_is_allowed():
    """Rows, bytes and both limits."""
    _size, told = fitted(hardware(1, limit=40), 64, count_of(0, 100_000))
    assert told == [
        "batch size lowered from 64 to 10: 64 rows need 6,400,000 B, max_memory_mb 1 allows 1,048,576 B and "
        "batch_size_limit 40 rows"
    ]


def test_a_network_that_fits_with_no_row_is_refused():
    """With need, budget, the missing bytes, and the part that takes the most."""
    count = MemoryCount(1 << 19, 100, 1 << 20, 0, 5, 6, 7)
    with pytest.raises(BudgetExceeded) as caught:
        fitting_batch_size(hardware(1), 8, lambda size: count)
    need = count.total
    assert need == (1 << 19) + 100 + (1 << 20) + 18
    assert str(caught.value) == (
        f"training needs {need:,} B at batch size 1, max_memory_mb 1 allows 1,048,576 B, missing {need - MIB:,} B; "
        "largest part: optimizer with 1,048,576 B; use smaller layers, a plainer optimizer or fewer rows, or raise "
        "max_memory_mb"
    )
    kept = MemoryCount(0, 0, 0, MIB + 1, 0, 0, 0)
    with pytest.raises(BudgetExceeded, match=r"missing 1 B; largest part: kept weights with 1,048,577 B"):
        fitting_batch_size(hardware(1), 8, lambda size: kept)


def test_the_warning_points_at_the_callers_line():
    """Where `fit` was called."""
    x, y = blobs()
    network = small_network(config={"enable_hardware_simulation": True, "batch_size_limit": 8})
    with pytest.warns(HardwareLimitWarning, match="lowered from 32 to 8") as caught:
        network.fit(x, y, epochs=1, batch_size=32)
    assert caught[0].filename == __file__


def test_a_count_is_printed_as_a_table():
    """A line for each part and one for the sum, aligned."""
    lines = str(MemoryCount(1, 20, 300, 4_000, 50_000, 600_000, 7_000_000)).splitlines()
    assert lines[0] == "parameters                 1 B"
    assert lines[3] == "kept weights           4,000 B"
    assert lines[-1] == "total              7,654,321 B"
    assert len(lines) == 8
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("validation", [True, False])
def test_every_part_by_hand(optimizer, shuffle, validation):
    """5-7-3 with normalization at batch 4: state and validation rows are counted where there are some."""
    x, y = blobs(rows=20)
    network = NeuralNetworkModel([5, 7, 3], ["relu", "softmax"], batch_norm=True)
    held = blobs(rows=9) if validation else None
    settings = PLAIN | {"optimizer": optimizer, "shuffle": shuffle, "validation_data": held}
    network.fit(x, y, epochs=1, batch_size=4, **settings)
    found = network.memory_
    values, state = network.parameters.values.nbytes, network.parameters.state.nbytes
    assert state == 2 * 7 * 4
    assert found.parameters == found.kept_weights == values + state
    assert found.gradients == values
    slots = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer]
    assert found.optimizer == slots * values + 4 * (5 * 7 + 7 * 3)
    loss = 2 * 4 * 3 * 4 + 4 * 8 + 4  # elements, scratch, the predicted classes and which are right
    gathered = 4 * (5 * 4 + 3 * 4 + 8) if shuffle else 0  # x, targets, labels
    assert found.batch == loss + gathered + (loss if validation else 0)
    assert found.total == sum(vars(found).values())
    if not validation:
        assert found.data == 20 * (3 * 4 + 8) + 20 * 8  # one-hot rows, labels, and the order; x is the caller's own


def test_folded_weights_are_counted_where_rows_are_held_out():
    """Evaluation folds the normalization into a copy of the weights; without validation there is none."""
    x, y = blobs(rows=20)
    counts = []
    for held in (None, blobs(rows=9)):
        network = NeuralNetworkModel([5, 7, 3], ["relu", "softmax"], batch_norm=True)
        network.fit(x, y, epochs=1, batch_size=4, validation_data=held)
        counts.append(network.memory_.activations)
    assert counts[1] - counts[0] >= 4 * 5 * 7
