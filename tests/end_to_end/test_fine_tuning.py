"""What is trained is what runs: the trainer's forward pass, the engine, the artifact and the ONNX file."""

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, load, save
from export import quantize, verify, write_onnx
from export.verification.onnx_session import LEVELS, make_session
from tests.networks import random_model, random_rows
from trainer import fine_tune
from trainer.fine_tuning import training_blocks
from trainer.network import LayerChain

KINDS = {
    "classifier": (["relu", "leaky_relu", "softmax"], True),
    "tables": (["tanh", "sigmoid", "linear"], False),
    "activations that floats are not trained with": (["gelu", "clip", "sigmoid"], True),
}


def logits_in_training(model, tuned, x):
    """What the trainer's forward pass gives before the last activation, (rows, n_out)."""
    blocks = training_blocks(model, tuned)
    chain = LayerChain(blocks)
    chain.resize(len(x))
    rows = x if tuned.preprocessing is None else tuned.preprocessing(x)
    chain.infer(rows, [block.folded() for block in blocks])
    return np.ascontiguousarray(blocks[-1].z)


@pytest.mark.parametrize("precision", ["int8", "int4", "int8-a16"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_trainer_and_every_form_of_the_model_have_the_same_bits(kind, precision, tmp_path):
    """Of logits, in the trainer, in the engine, read back from the artifact, and in onnxruntime from the ONNX file."""
    activations, standardize = KINDS[kind]
    model, x = random_model([11, 9, 7, 4], activations, 1, standardize), random_rows(400, 11)
    small = quantize(model, x, precision, "minmax", bias_correction=True, rounding="compensated")
    y = np.random.default_rng(3).integers(0, 2, (400, 4)).astype(np.float32)
    y = y.argmax(axis=1) if kind == "classifier" else y
    tuned = fine_tune(model, small, x, y, epochs=8, learning_rate=0.01, validation_data=(x, y))
    assert any((a.weight != b.weight).any() for a, b in zip(tuned.layers, small.layers, strict=True))
    wanted = logits_in_training(model, tuned, x)
    save(tuned, tmp_path / "m.npz")
    for found in (Engine(tuned), Engine(load(tmp_path / "m.npz"))):
        np.testing.assert_array_equal(found.logits(x).view(np.uint32), wanted.view(np.uint32))
    without = replace(tuned, layers=(*tuned.layers[:-1], replace(tuned.layers[-1], activation="linear")))
    write_onnx(without, tmp_path / "logits.onnx")
    for level in LEVELS:
        session = make_session(str(tmp_path / "logits.onnx"), level)
        found = session.run(None, {session.get_inputs()[0].name: x})[0]
        np.testing.assert_array_equal(found.view(np.uint32), wanted.view(np.uint32))
    write_onnx(tuned, tmp_path / "m.onnx")
    assert verify(tuned, tmp_path / "m.onnx", x).ok
