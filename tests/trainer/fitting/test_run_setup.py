import numpy as np
import pytest

from tests.trainer.samples import PLAIN, blobs, small_network
from trainer import CheckpointError, NeuralNetworkModel
from trainer.fitting.run_setup import stated_threads


def test_a_share_of_the_rows_decides_when_to_stop():
    """A tenth, of each class, drawn by the seed; the epoch that is kept is the best on it."""
    x, y = blobs(rows=400)
    network = NeuralNetworkModel([5, 7, 3], ["relu", "softmax"])
    history = network.fit(x, y, epochs=20)
    assert len(history.validation_loss) == len(history.records)
    assert history.best_epoch == int(np.argmin(history.validation_loss)) + 1
    again = NeuralNetworkModel([5, 7, 3], ["relu", "softmax"])
    assert again.fit(x, y, epochs=20) == history


@pytest.mark.parametrize(("rows", "classes", "is_apart"), [(90, 2, False), (100, 3, True), (290, 15, False)])
def test_few_rows_are_all_trained_on(rows, classes, is_apart):
    """Under ten rows, or three a class, which epoch is the best one is chance."""
    x, y = blobs(rows=rows, classes=classes)
    network = NeuralNetworkModel([5, classes], ["softmax"])
    assert bool(network.fit(x, y, epochs=1).validation_loss) == is_apart
    assert not NeuralNetworkModel([5, classes], ["softmax"]).fit(x, y, epochs=1, validation_share=0.0).validation_loss


def test_rows_that_are_kept_apart_are_not_trained_on():
    """An epoch passes over the others, each once; no copy of all rows is made for it."""
    x, y = np.arange(200, dtype=np.float32)[:, None], np.arange(200) % 2
    network, seen = NeuralNetworkModel([1, 2], ["softmax"]), []
    forward = network.chain.forward
    network.chain.forward = lambda batch, rng: seen.extend(batch[:, 0].tolist()) or forward(batch, rng)
    network.fit(x, y, epochs=1, standardize="none")
    assert len(set(seen)) == len(seen) == 180


def test_a_batch_size_that_is_not_given_fits_the_rows():
    """32; of few rows fewer, so that an epoch has some steps."""
    sizes = {}
    for rows in (20, 120, 400):
        x, y = blobs(rows=rows)
        network = NeuralNetworkModel([5, 3], ["softmax"])
        batches = []
        forward = network.chain.forward
        network.chain.forward = lambda x, rng, seen=batches, go=forward: seen.append(len(x)) or go(x, rng)
        network.fit(x, y, epochs=1, validation_share=0.0)
        sizes[rows] = batches[0]
    assert sizes == {20: 8, 120: 15, 400: 32}


def test_another_number_of_threads_is_refused_with_what_to_do(tmp_path, monkeypatch):
    """Sums depend on it in the last bit, so that a resumed run would be another one."""
    x, y = blobs()
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert stated_threads() == 3
    small_network().fit(x, y, checkpoint=tmp_path / "c", **PLAIN | {"epochs": 1})
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with pytest.raises(CheckpointError, match=r"made with threads 3, this run has 2; set OMP_NUM_THREADS=3 before"):
        small_network().fit(x, y, resume=tmp_path / "c", **PLAIN | {"epochs": 2})
