"""Files that earlier code wrote (commit 8b052cc, 2026-11-24) are read, run and continued by the present one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime import Engine, load, save, selftest
from edge_runtime.reference.bounds import output_bound
from trainer import NeuralNetwork, PrecisionConfig

GOLDEN = Path(__file__).parent.parent / "golden"
EXPECTED = np.load(GOLDEN / "expected.npz", allow_pickle=False)
PRECISIONS = ["float32", "float16", "int8", "int8-dynamic"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("mmap", [False, True])
def test_an_old_artifact_gives_its_answers(precision: str, mmap: bool) -> None:
    """int8 to the last bit; floats within their bound. Class names, metadata and test vectors are there."""
    model = load(GOLDEN / f"{precision}.npz", mmap=mmap)
    x = EXPECTED["x"][:16]
    found, expected = Engine(model).logits(x), EXPECTED[precision]
    if precision == "int8":
        assert found.tobytes() == expected.tobytes()
    else:
        assert (np.abs(found - expected) <= output_bound(model, x, activated=False)).all()
    assert model.class_names == ("low", "mid", "hi\u00e9")
    assert dict(model.metadata)["note"] == "golden"
    assert model.precision == precision
    assert selftest(model).ok


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_old_artifact_is_written_as_it_was(precision: str, tmp_path: Path) -> None:
    """The format is the same to the byte."""
    save(load(GOLDEN / f"{precision}.npz"), tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (GOLDEN / f"{precision}.npz").read_bytes()


def test_an_old_checkpoint_is_continued() -> None:
    """After three epochs of six, with dropout, batch statistics and Adam's moments: near the weights of one run.

    Not to the byte: the products of another processor may be rounded otherwise.
    """
    network = NeuralNetwork(
        [6, 9, 5, 3], ["tanh", "relu", "softmax"], l2_lambda=0.0, dropout_rate=0.1, batch_norm=True,
        precision_config=PrecisionConfig(seed=11),
    )  # fmt: skip
    x, y = EXPECTED["x"], EXPECTED["y"]
    history = network.fit(
        x, y, epochs=6, batch_size=16, optimizer="adam", learning_rate=0.01, standardize="per-feature",
        schedule="constant", patience=None, validation_data=(x[:20], y[:20]), resume=GOLDEN / "run.ckpt",
    )  # fmt: skip
    assert len(history.records) == 6
    np.testing.assert_allclose(network.parameters.values, EXPECTED["resumed"], atol=1e-3)
