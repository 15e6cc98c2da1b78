import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import ArtifactError, Elementwise, LayerNorm, Model, ModelError
from edge_runtime.artifact import network_digest, save_bytes
from edge_runtime.artifact.artifact import artifact_bytes, digest_of, from_members, to_members
from tests.networks import random_model, staged_model

# SHA-256 of the file that `test_stages_are_fixed_to_the_byte` makes
GOLDEN = "b9e6a69f1fecccfa87ba24a85dfdffb5362f91c01fa2d097c72368fd56aea2e2"


def hand_made():
    """Every member that stages may have, with numbers of no platform's own."""
    ramp = np.arange(-2, 2, dtype=np.float32)
    infinite = np.float32([-np.inf, -1, -np.inf, 0])
    return Model(
        (
            Elementwise("map", ramp, ramp / 4, "relu", infinite, np.float32([np.inf, 1, 2, 3]), ramp / 8),
            LayerNorm("norm", ramp, ramp / 2, 2.0**-17, "tanh"),
            LayerNorm("rms", ramp, ramp, 0.0, "linear", centered=False),
        )
    )


def said(change):
    """What is said of the hand-made model's members after a change to its header or to them."""
    members = to_members(hand_made())
    _line, _, text = members.pop("format").tobytes().partition(b"\n")
    header = json.loads(text)
    change(header["layers"], members)
    text = json.dumps(header).encode()
    line = f"smallnet 2 sha256={digest_of(text, members)}\n".encode()
    with pytest.raises((ArtifactError, ModelError)) as caught:
        from_members({"format": np.frombuffer(line + text, np.uint8), **members})
    return str(caught.value)


def first_line(model):
    return to_members(model)["format"].tobytes().partition(b"\n")[0]


def test_a_file_with_stages_says_version_2_and_others_stay_at_1():
    """Older readers refuse what they do not know, and read all else as ever."""
    assert first_line(hand_made()).startswith(b"smallnet 2 sha256=")
    assert first_line(staged_model([3, 2])).startswith(b"smallnet 2 sha256=")
    assert first_line(random_model([3, 2], ["relu"])).startswith(b"smallnet 1 sha256=")


def test_the_digest_of_a_network_is_of_what_it_answers():
    """Whatever decides that changes it; names of classes, metadata and test vectors do not."""
    model = staged_model([3, 2], standardize=True)
    named = replace(model, metadata={"note": "mine"}, class_names=("a", "b"))
    assert network_digest(named) == network_digest(model)
    others = [replace(model, preprocessing=None), hand_made()]
    norm = hand_made().layers[1]
    for changed in (replace(norm, epsilon=2.0**-16), replace(norm, centered=False), replace(norm, name="other")):
        others.append(replace(hand_made(), layers=(changed,)))
    assert len({network_digest(model), *map(network_digest, others)}) == 6


def test_stages_are_fixed_to_the_byte():
    """A change here is a new format version."""
    content = save_bytes(hand_made())
    assert hashlib.sha256(content).hexdigest() == GOLDEN, "bump FORMAT_VERSION, keep reading the old one"
    assert artifact_bytes(hand_made()) == len(content)


def test_every_number_of_a_stage_comes_back():
    """Arrays, infinite limits, epsilon, whether it is centered; what is not there is None."""
    model = hand_made()
    for before, after in zip(model.layers, from_members(to_members(model)).layers, strict=True):
        assert type(after) is type(before)
        assert after.activation == before.activation
        for name, array in before.arrays().items():
            np.testing.assert_array_equal(after.arrays()[name], array)
    norm, rms = from_members(to_members(model)).layers[1:]
    assert (norm.epsilon, norm.centered, rms.epsilon, rms.centered) == (2.0**-17, True, 0.0, False)
    bare = replace(model, layers=(replace(model.layers[0], low=None, slope=None),))
    (found,) = from_members(to_members(bare)).layers
    assert (found.low, found.slope) == (None, None)
    np.testing.assert_array_equal(found.high, model.layers[0].high)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layers, members: layers[1].pop("epsilon"), "'norm.epsilon' in its header is 'None', expected another"),
        (lambda layers, members: layers[1].update(epsilon="x"), "'norm.epsilon' in its header is 'x', expected anoth"),
        (lambda layers, members: layers[1].update(epsilon=1e-5), "'norm.epsilon' is 1e-05, expected a number that flo"),
        (lambda layers, members: layers[1].pop("centered"), "'norm.centered' in its header is 'None', expected true o"),
        (
            lambda layers, members: layers[1].update(centered=1),
            "'norm.centered' in its header is '1', expected true or",
        ),
        (lambda layers, members: layers[1].update(kind="elementwise"), "member 'layer1.scale' is missing"),
        (lambda layers, members: layers[0].update(kind="layer_norm"), "member 'layer0.gamma' is missing"),
        (
            lambda layers, members: layers[0].update(kind="stage"),
            "layer 'map' has kind 'stage', expected one of float32",
        ),
        (lambda layers, members: members.pop("layer0.shift"), "member 'layer0.shift' is missing"),
        (lambda layers, members: members.pop("layer2.beta"), "member 'layer2.beta' is missing"),
        (
            lambda layers, members: members.update({"layer1.slope": members["layer0.slope"]}),
            "unknown members ['layer1.",
        ),
        (
            lambda layers, members: members.update({"layer0.low": members["layer0.high"]}),
            "'map.low' holds 1 values that are neither numbers nor -inf",
        ),
        (
            lambda layers, members: members.update({"layer0.slope": members["layer0.slope"][:2]}),
            "'map.slope' has shape ",
        ),
    ],
)
def test_entries_that_do_not_fit_are_refused_by_name(change, message):
    """Even with a right digest: what is missing, of another type, or too much."""
    assert said(change).startswith(message)
