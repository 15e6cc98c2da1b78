import subprocess
import sys

import numpy as np
import pytest

import edge_runtime as er
from edge_runtime import InputError
from tests.trainer.samples import all_bytes, blobs, small_network
from trainer import ConfigurationError, NeuralNetwork, NeuralNetworkModel


def test_fit_starts_from_fresh_weights_unless_asked():
    """Called twice, `fit` gives the same network; warm_start=True goes on from the present weights."""
    x, y = blobs()
    network = small_network(epochs=2)
    first = network.fit(x, y), all_bytes(network)
    assert (network.fit(x, y), all_bytes(network)) == first
    network.warm_start = True
    again = network.fit(x, y)
    assert again.loss[0] < first[0].loss[0]


def test_fit_arguments_win_over_parameters():
    """Parameters are defaults: an argument takes their place for one call, an unknown one is a TypeError."""
    x, y = blobs()
    network = small_network(epochs=3)
    assert len(network.fit(x, y).records) == 3
    assert len(network.fit(x, y, epochs=1).records) == 1
    assert network.epochs == 3
    with pytest.raises(TypeError, match="unexpected setting 'epoch'"):
        network.fit(x, y, epoch=1)


@pytest.mark.parametrize(
    "names", [np.array(["red", "green", "blue"]), np.array([10, 20, 35]), np.array([False, True])], ids=str
)
def test_any_labels_come_back(names):
    """Text, other numbers and booleans are labels as well; predictions and scores use them."""
    x, y = blobs(classes=len(names))
    network = small_network(sizes=(5, 7, len(names)), epochs=20)
    history = network.fit(x, names[y], validation_data=(x, names[y]))
    assert set(network.predict(x)) <= set(names)
    assert network.score(x, names[y]) == np.mean(network.predict(x) == names[y]) > 0.9
    assert history.validation_metric[-1] > 0.9
    assert network.evaluate(x, names[y]).metric == network.score(x, names[y])
    assert network.predict_proba(x).shape == (len(x), len(names))


def test_text_labels_name_the_classes_of_the_model():
    """`to_model` has them in the order of the outputs; given names win."""
    x, y = blobs()
    network = small_network(epochs=1)
    network.fit(x, np.array(["red", "green", "blue"])[y])
    assert network.to_model().class_names == ("blue", "green", "red")
    assert network.to_model(class_names=["a", "b", "c"]).class_names == ("a", "b", "c")
    assert small_network(class_names=["a", "b", "c"]).to_model().class_names == ("a", "b", "c")


def test_labels_that_do_not_fit_are_refused():
    """Too many labels, and labels at prediction time that training did not see."""
    x, y = blobs()
    network = small_network(epochs=1)
    with pytest.raises(InputError, match=r"y holds 4 different labels .*, expected 3 or whole numbers from 0 to 2"):
        network.fit(x, np.array(["a", "b", "c", "d"])[np.arange(len(y)) % 4])
    network.fit(x, np.array(["a", "b", "c"])[y])
    with pytest.raises(InputError, match="y holds label z, expected one of a, b, c"):
        network.evaluate(x[:1], np.array(["z"]))
    with pytest.raises(InputError, match="y holds int64 labels, expected some of a, b, c"):
        network.evaluate(x[:1], np.array([1]))


def test_one_sigmoid_output_is_a_classifier():
    """Labels 0 and 1, probabilities in two columns, class 1 above one half."""
    x, y = blobs(classes=2)
    network = NeuralNetwork([5, 1], ["sigmoid"], epochs=30)
    network.fit(x, y)
    assert network.score(x, y) > 0.95
    probabilities = network.predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert ((probabilities[:, 1] > 0.5) == network.predict(x)).all()


def test_regression_scores_with_r_squared():
    """1 for exact predictions, 0 for the mean; several outputs are averaged. No probabilities."""
    x = np.random.default_rng(0).standard_normal((50, 2))
    network = NeuralNetwork([2, 2], ["linear"])
    network.weights[0][...] = np.eye(2)
    assert network.score(x, x) == pytest.approx(1)
    network.weights[0][...] = 0
    network.biases[0][...] = x.mean(axis=0)
    assert network.score(x, x) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ConfigurationError, match="predict_proba needs softmax or sigmoid"):
        network.predict_proba(x)


def test_parameters_can_be_read_and_set():
    """get_params gives what __init__ took; set_params builds the network anew; unknown names are refused."""
    sizes = [4, 3]
    network = NeuralNetwork(sizes, ["softmax"], epochs=7)
    assert network.get_params()["layer_sizes"] is sizes
    assert network.get_params()["epochs"] == 7
    assert network.set_params(layer_sizes=[4, 6, 3], activations=["tanh", "softmax"], batch_size=5) is network
    assert [layer.n_out for layer in network.layers] == [6, 3]
    assert (network.epochs, network.batch_size) == (7, 5)
    with pytest.raises(ConfigurationError, match="parameter 'sizes' is not known"):
        network.set_params(sizes=[1])


def test_scikit_learn_accepts_it():
    """cross_val_score, GridSearchCV, clone and Pipeline treat it as a classifier."""
    pytest.importorskip("sklearn")
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = blobs(rows=150)
    network = small_network(epochs=10, config={"seed": 1})
    assert is_classifier(network)
    assert cross_val_score(network, x, y, cv=3).min() > 0.85
    names = np.array(["red", "green", "blue"])[y]
    search = GridSearchCV(network, {"learning_rate": [1e-6, 0.1], "layer_sizes": [(5, 7, 3), (5, 9, 3)]}, cv=2)
    search.fit(x, names)
    assert search.best_params_["learning_rate"] == 0.1
    assert search.best_score_ > 0.85
    assert set(search.predict(x)) == set(names)
    twin = clone(network)
    assert twin.get_params() == network.get_params()
    assert make_pipeline(StandardScaler(), network).fit(x, y).score(x, y) > 0.85


def test_scikit_learn_accepts_it_as_a_regressor():
    """With a linear output it is a regressor, scored with R^2."""
    pytest.importorskip("sklearn")
    from sklearn.base import is_regressor
    from sklearn.metrics import r2_score
    from sklearn.model_selection import cross_val_score

    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 3))
    y = x @ [1.0, 2.0, 3.0]
    network = NeuralNetwork([3, 1], ["linear"], epochs=30, learning_rate=0.05)
    assert is_regressor(network)
    assert cross_val_score(network, x, y, cv=3).min() > 0.99
    network.fit(x, y)
    assert network.score(x, y) == pytest.approx(r2_score(y, network.predict(x)), abs=1e-6)


def test_importing_the_trainer_loads_nothing_heavy():
    """NumPy and the runtime only: no scikit-learn, no onnx, no command line, no export."""
    code = "import sys, trainer; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not loaded & {"sklearn", "scipy", "onnx", "onnxruntime", "click", "export", "torch"}


@pytest.mark.parametrize("kind", [NeuralNetwork, NeuralNetworkModel])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_saved_networks_run_in_the_runtime(tmp_path, kind, batch_norm):
    """What the trainer saves, the runtime runs: raw values in, the same classes and nearly the same outputs out."""
    x, y = blobs(rows=200)
    x = x * [1, 10, 100, 0.1, 5] + 3
    network = small_network(kind=kind, batch_norm=batch_norm)
    network.fit(x, y, epochs=15, standardize="per-feature")
    network.save_weights(tmp_path / "net.npz")
    engine = er.Engine(er.load(tmp_path / "net.npz"))
    np.testing.assert_allclose(engine.run(x), network.forward(x), rtol=0, atol=2e-6)
    assert (engine.predict(x) == network.predict(x)).all()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_loaded_weights_are_the_saved_ones(tmp_path, batch_norm):
    """A network that loads what another saved computes the same bits, preprocessing and class names included."""
    x, y = blobs()
    network = small_network(batch_norm=batch_norm, class_names=("a", "b", "c"))
    network.fit(x, y, epochs=3, standardize="global")
    network.save_weights(tmp_path / "net.npz")
    other = small_network(batch_norm=batch_norm, config={"seed": 9})
    other.load_weights(tmp_path / "net.npz")
    assert (other.forward(x) == network.forward(x)).all()
    assert other.class_names == ("a", "b", "c")
    other.save_weights(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "net.npz").read_bytes()


def test_weights_of_another_network_are_refused(tmp_path):
    """Sizes and activations must match; the message gives both; nothing changes. Damaged files are ArtifactErrors."""
    small_network(sizes=(5, 8, 3)).save_weights(tmp_path / "net.npz")
    network = small_network()
    before = all_bytes(network)
    with pytest.raises(er.ModelError, match=r"holds 5-8-3 \(relu, softmax\), expected 5-7-3 \(relu, softmax\)"):
        network.load_weights(tmp_path / "net.npz")
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(er.ArtifactError):
        network.load_weights(tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError):
        network.load_weights(tmp_path / "none.npz")
    assert all_bytes(network) == before
