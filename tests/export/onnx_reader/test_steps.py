"""Chains of steps: what leads where, who made it, and what two of them share."""

from __future__ import annotations

import numpy as np

from export.onnx_reader.nodes import Node
from export.onnx_reader.steps import IDENTITY, Affine, Chain, DynamicScale, common_ancestor


def affine(scale, shift):
    """x * scale + shift."""
    return Affine(np.array(scale, np.float64), np.array(shift, np.float64))


def test_two_affine_maps_are_one():
    """The first one first, as it is applied."""
    first, second = affine([2, 3], 1), affine(5, [7, -1])
    both = first.then(second)
    x = np.array([[0.5, -4.0]])
    np.testing.assert_array_equal(both(x), second(first(x)))


def test_an_affine_map_knows_what_it_is():
    """The identity in both of its parts; uniform if neither part has a number for each feature."""
    assert IDENTITY.is_identity
    assert affine([1, 1], [0, 0]).is_identity
    assert not affine(1, 1).is_identity
    assert not affine(2, 0).is_identity
    assert not affine([1, 2], 0).is_identity
    assert affine(3, 4).is_uniform
    assert not affine([3], 4).is_uniform
    assert not affine(3, [4]).is_uniform


def test_two_chains_share_what_they_left_last():
    """Whichever of them is longer, and if one is a part of the other."""
    root = Chain(None, None, 3)
    base = root.then(affine(2, 0))
    short, long = base.then(DynamicScale()), base.then(DynamicScale()).then(DynamicScale()).then(DynamicScale())
    for first, second in ((short, long), (long, short)):
        assert common_ancestor(first, second) is base
    assert common_ancestor(base, long) is common_ancestor(long, base) is base
    assert common_ancestor(root, root) is root
    assert [link.depth for link in long.links_after(base)] == [2, 3, 4]
    assert long.steps_after(None)[0] is base.step
    assert base.then(DynamicScale(), 7).width == 7
    assert base.then(DynamicScale()).width == 3


def test_a_step_belongs_to_the_node_that_made_it_first():
    """What a later node adds is its own; what an earlier one made stays that one's."""
    first, second = (Node(name, "Add", "", 13, (), (name,)) for name in ("one", "two"))
    made = Chain(None, None, 3).then(affine(2, 0)).then(affine(3, 0))
    made.made_by(first)
    more = made.then(affine(4, 0))
    more.made_by(second)
    assert [link.origin for link in more.links_after(None)] == [first, first, first, second]
