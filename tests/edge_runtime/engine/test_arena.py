import numpy as np
import pytest

from edge_runtime.engine.arena import ALIGNMENT, Arena, Region, lay_out


def test_regions_lie_one_after_the_other_and_are_aligned():
    """Empty ones take no room; a region of one byte takes a line of the cache."""
    found = lay_out({"a": 1, "none": 0, "b": 64, "c": 65, "d": 4})
    assert [(region.name, region.offset, region.nbytes) for region in found.values()] == [
        ("a", 0, 1),
        ("none", 64, 0),
        ("b", 64, 64),
        ("c", 128, 65),
        ("d", 256, 4),
    ]
    assert [region.end for region in found.values()] == [1, 64, 128, 193, 260]
    assert ALIGNMENT == 64


def arena():
    regions = lay_out({"x_ones": 64, "x": 400, "y": 80})
    return Arena(regions, 640)


def test_views_of_a_region_share_its_bytes_and_no_other_regions():
    """From its start, in the dtype and shape that are asked for; the whole of it and no more."""
    memory = arena()
    assert memory.nbytes == 640
    memory.view("x", (100,))[...] = 7
    memory.view("y", (10,), np.float64)[...] = -1
    assert memory.view("x", (4, 25)).min() == 7
    assert memory.view("y", (2, 5), np.float64).max() == -1
    assert memory.view("x", (3,)).shape == (3,)
    assert memory.view("x_ones", (16,)).tolist() == [1.0] * 16
    with pytest.raises(AssertionError, match=r"region 'x' has 400 bytes, a view of \(101,\) takes 404"):
        memory.view("x", (101,))
    with pytest.raises(AssertionError, match=r"region 'y' has 80 bytes, a view of .* takes 88"):
        memory.view("y", (11,), np.float64)


@pytest.mark.parametrize("shape", [(5,), (5, 4), (5, 16)])
def test_a_view_with_ones_begins_with_a_one_for_each_column(shape):
    """The source of a product whose weights begin with the bias."""
    memory = arena()
    memory.view("x", shape)[...] = 3
    both = memory.view_with_one("x", shape)
    assert both.shape == (6, *shape[1:])
    assert (both[0] == 1).all()
    assert (both[1:] == 3).all()
    both[1:] = 9
    assert memory.view("x", shape).min() == 9


def test_an_arena_that_no_machine_has_is_a_memory_error():
    """More bytes than an index can count are refused as those that cannot be had."""
    with pytest.raises(MemoryError):
        Arena({"a": Region("a", 0, 4)}, 1 << 63)
