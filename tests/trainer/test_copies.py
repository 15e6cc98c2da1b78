"""Networks that are copied, sent to other processes or cloned learn as the original does."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime import InputError
from trainer import NeuralNetwork, NeuralNetworkModel, PrecisionConfig

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


def joblib_copy(net: Any) -> Any:
    """Written by joblib and read again."""
    joblib = pytest.importorskip("joblib")
    file = io.BytesIO()
    joblib.dump(net, file)
    file.seek(0)
    return joblib.load(file)


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "oldest protocol": lambda net: pickle.loads(pickle.dumps(net, protocol=0)),
    "joblib": joblib_copy,
    "twice": lambda net: copy.deepcopy(pickle.loads(pickle.dumps(net))),
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"dropout_rate": 0.3, "l2_lambda": 1e-3},
    "batch_norm": {"batch_norm": True},
    "profiled": {"precision_config": PrecisionConfig(enable_profiling=True)},
    "float64": {"precision_config": PrecisionConfig(train_dtype="float64")},
    "int8 in training": {"precision_config": PrecisionConfig(precision_mode="int8")},
}


def made(kind: str, cls: type = NeuralNetworkModel) -> Any:
    return cls([5, 8, 2], ["relu", "softmax"], **KINDS[kind])


def train(net: Any, **settings: Any) -> bytes:
    net.fit(X, Y, **{"epochs": 4, "optimizer": "adam", "learning_rate": 0.02, **settings})
    return net.parameters.values.tobytes() + net.parameters.state.tobytes()


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cls", [NeuralNetworkModel, NeuralNetwork])
def test_a_copy_learns_the_same_bytes(way: str, kind: str, cls: type) -> None:
    """A copy of a fresh network, and one of a network in the middle of its training, go on as the original does."""
    fresh = made(kind, cls)
    assert train(COPIES[way](fresh)) == train(fresh)
    settings = {"warm_start": True} if cls is NeuralNetwork else {}
    used = cls([5, 8, 2], ["relu", "softmax"], **KINDS[kind], **settings)
    train(used)
    twin = COPIES[way](used)
    assert twin.predict(X).tolist() == used.predict(X).tolist()
    assert train(twin) == train(used)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_is_mapped_from_a_file_learns(kind: str, tmp_path: Path) -> None:
    """What joblib does with large networks for its processes: its arrays cannot be written, those in training can."""
    joblib = pytest.importorskip("joblib")
    net = made(kind)
    train(net)
    joblib.dump(net, tmp_path / "net")
    content = (tmp_path / "net").read_bytes()
    mapped = joblib.load(tmp_path / "net", mmap_mode="r")
    assert train(mapped) == train(net)
    assert (tmp_path / "net").read_bytes() == content


@pytest.mark.parametrize("way", COPIES)
def test_training_a_copy_leaves_the_original_alone(way: str) -> None:
    """Weights are owned: neither sees what happens to the other."""
    net = made("batch_norm")
    before = net.parameters.values.tobytes()
    twin = COPIES[way](net)
    train(twin)
    assert net.parameters.values.tobytes() == before
    twin.weights[0][:] = 0
    assert np.count_nonzero(net.weights[0])


@pytest.mark.parametrize("way", COPIES)
def test_weights_that_are_written_into_a_copy_count(way: str) -> None:
    """The arrays of a copy are views of what its optimizer and `to_model` read."""
    twin = COPIES[way](made("plain"))
    twin.weights[0][:] = 0.25
    assert np.all(twin.parameters.values[: twin.weights[0].size] == np.float32(0.25))
    assert np.all(twin.to_model().layers[0].weight == np.float32(0.25))
    twin.parameters.gradients[:] = 3
    assert np.all(twin.weight_gradients[1] == 3)


def test_a_copy_holds_no_batch() -> None:
    """What a batch left behind is not sent along: a pickle is as large as the network, whatever was trained on."""
    small, large = made("plain"), made("plain")
    train(small)
    large.fit(np.tile(X, (200, 1)), np.tile(Y, 200), epochs=1, batch_size=20_000)
    assert abs(len(pickle.dumps(large)) - len(pickle.dumps(small))) < 200


def test_scikit_learn_copies_in_other_processes() -> None:
    """Cross-validation and voting in two processes give what one process gives, and networks that have learned."""
    pytest.importorskip("sklearn")
    from sklearn.ensemble import VotingClassifier
    from sklearn.model_selection import cross_val_score

    net = NeuralNetwork([5, 16, 2], ["relu", "softmax"], epochs=30, learning_rate=0.02, schedule="constant")
    one, two = (cross_val_score(net, X, Y, cv=3, n_jobs=jobs) for jobs in (1, 2))
    assert one.tolist() == two.tolist()
    assert min(one) > 0.65  # 0.5 is chance
    votes = [
        VotingClassifier([("a", net), ("b", copy.deepcopy(net))], voting="soft", n_jobs=jobs).fit(X, Y).score(X, Y)
        for jobs in (1, 2)
    ]
    assert votes[0] == votes[1] > 0.9


def test_joblib_files_learn_on(tmp_path: Path) -> None:
    """A network out of a joblib file learns as the one that was written."""
    joblib = pytest.importorskip("joblib")
    net = made("dropout")
    train(net)
    joblib.dump(net, tmp_path / "net.joblib")
    assert train(joblib.load(tmp_path / "net.joblib")) == train(net)


def test_a_copy_takes_no_part_of_the_last_pass() -> None:
    """The tensors of a pass belong to the network that made it; a copy has none until its own."""
    net = made("plain")
    net.forward(X, training=True)
    twin = copy.deepcopy(net)
    assert len(net.a_values) == 3
    assert twin.a_values == []
    with pytest.raises(InputError):
        twin.forward(X[:, :2], training=True)


@pytest.mark.parametrize("part", ["parameters", "chain"])
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_a_part_leaves_the_network_alone(part: str, way: str) -> None:
    """The network learns as if its parameters or its chain had never been copied."""
    net = made("batch_norm")
    kept = COPIES[way](getattr(net, part))
    assert train(net) == train(made("batch_norm"))
    assert kept is not getattr(net, part)
