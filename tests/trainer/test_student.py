import inspect
import pydoc
import subprocess
import sys
import warnings

import numpy as np
import pytest

import edge_runtime as er
from edge_runtime import InputError
from edge_runtime.files import read_rows
from edge_runtime.schema import Schema
from tests.trainer.samples import all_bytes, blobs, small_network
from trainer import ConfigurationError, DataWarning, NeuralNetwork, NeuralNetworkModel, NotFittedError
from trainer.datasets import load_dataset


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
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
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


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([3, 7, 9], ("3", "7", "9")),
        ([3.0, 7.0, 9.5], ("3", "7", "9.5")),
        ([1, 2, 3], ("1", "2", "3")),
        ([0, 1, 2], ()),
    ],
    ids=str,
)
def test_numbers_as_labels_name_the_classes_of_the_model(labels, names):
    """Whoever runs the model learns which output is which; 0, 1, 2 are what the outputs are called anyway."""
    x, y = blobs()
    network = small_network(epochs=1)
    network.fit(x, np.array(labels)[y])
    assert network.to_model().class_names == names
    assert network.to_model(class_names=["a", "b", "c"]).class_names == ("a", "b", "c")


def test_whole_numbers_of_any_type_are_the_same_labels():
    """Floats that are 1, 2, 3 are the classes 1, 2, 3, not the indices 1, 2 and one too many."""
    x, y = blobs()
    network = small_network()
    network.fit(x, y + 1)
    assert network.evaluate(x, (y + 1).astype(float)).metric == network.score(x, y + 1) > 0.9
    with pytest.raises(InputError, match=r"y holds label 0\.0, expected one of 1, 2, 3"):
        network.evaluate(x, y.astype(float))


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
    network = NeuralNetwork([5, 1], ["sigmoid"])
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


def test_setting_parameters_keeps_what_was_learned():
    """Settings are for the next `fit`; what would build another network is refused, and changes nothing."""
    x, y = blobs()
    network = small_network(epochs=3)
    network.fit(x, y + 5)
    learned, predicted = all_bytes(network), network.predict(x)
    network.set_params(epochs=1, learning_rate=0.5, l2_lambda=0.1, class_names=("a", "b", "c"), warm_start=True)
    network.set_params(layer_sizes=network.layer_sizes, activations=network.activations)
    assert (all_bytes(network), network.n_iter_, network.epochs) == (learned, 3, 1)
    assert (network.predict(x) == predicted).all()
    with pytest.raises(ConfigurationError, match="layer_sizes decides how the network is built"):
        network.set_params(epochs=9, layer_sizes=[5, 3], activations=["softmax"])
    assert (all_bytes(network), network.epochs) == (learned, 1)
    network.reset()
    assert len(network.set_params(layer_sizes=[5, 3], activations=["softmax"]).layers) == 1


NOT_LEARNED = "needs a network that has learned, and this one has the weights that were drawn for it; call fit, or load"


@pytest.mark.parametrize("use", ["predict", "predict_proba", "score"])
def test_what_has_not_learned_predicts_nothing(use):
    """Neither as it was made, nor after `reset`; the error is of the kinds that scikit-learn's is."""
    x, y = blobs()
    network = small_network()
    arguments = (x, y) if use == "score" else (x,)
    for _ in range(2):
        with pytest.raises(NotFittedError, match=f"predict\\w* {NOT_LEARNED}") as caught:
            getattr(network, use)(*arguments)
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, AttributeError)
        network.fit(x, y, epochs=1)
        getattr(network, use)(*arguments)
        network.reset()
    assert network.forward(x).shape == (90, 3)
    assert network.evaluate(x, y).loss > 0


def learn_by_hand(network, x, y, path):
    network.backprop(x, y)
    for weights, gradient in zip(network.weights, network.weight_gradients, strict=True):
        weights -= 0.1 * gradient


def load_what_was_saved(network, x, y, path):
    network.save_weights(path)
    network.load_weights(path)


@pytest.mark.parametrize(
    "learn",
    [
        learn_by_hand,
        load_what_was_saved,
        lambda network, x, y, path: network.fit(x, y, epochs=0),
        lambda network, x, y, path: network.partial_fit(x, y),
    ],
    ids=["by hand", "loaded", "no epochs", "partial_fit"],
)
def test_what_counts_as_having_learned(learn, tmp_path):
    """A run, other weights than those drawn, and a file; labels are then 0, 1, 2 where none were given."""
    x, y = blobs()
    network = small_network()
    learn(network, x, y, tmp_path / "n.npz")
    assert set(network.predict(x)) <= {0, 1, 2}


def test_what_fit_finds_out_is_not_there_before():
    """As scikit-learn has it: names that end in _ come with `fit`, and `history_` holds the history."""
    x, y = blobs()
    network = small_network(epochs=2)
    assert not [name for name in vars(network) if name.endswith("_")]
    history = network.fit(x, y)
    assert network.history_ is history
    assert (network.n_iter_, network.loss_curve_, network.n_features_in_) == (2, history.loss, 5)
    assert network.classes_.tolist() == [0, 1, 2]


def test_fit_shows_its_settings():
    """`help(fit)` has each by name; one that is not given is as the parameter says."""
    shown, base = inspect.signature(NeuralNetwork.fit), inspect.signature(NeuralNetworkModel.fit)
    assert shown.parameters.keys() == base.parameters.keys()
    assert "epochs: int = <as set>" in pydoc.render_doc(NeuralNetwork.fit).replace("'", "")


def test_a_warm_start_keeps_the_classes():
    """The outputs stand for the labels that they have learned: others are refused, fewer are not."""
    x, y = blobs()
    network = small_network(warm_start=True)
    network.fit(x, y + 1)
    learned = all_bytes(network)
    with pytest.raises(InputError, match="y holds label 4, expected one of 1, 2, 3"):
        network.fit(x, y + 2)
    assert (all_bytes(network), network.classes_.tolist()) == (learned, [1, 2, 3])
    network.fit(x[y > 0], y[y > 0] + 1, epochs=1, learning_rate=1e-9)
    assert network.score(x, y + 1) > 0.9


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_partial_fits_make_a_fit(optimizer):
    """Epochs that are asked for one by one are those of one run, to the last bit: the optimizer goes on as well."""
    x, y = blobs()
    settings = {"schedule": "constant", "validation_share": 0.0, "patience": None}
    whole, parts = (small_network(optimizer=optimizer, epochs=4, **settings) for _ in range(2))
    whole.fit(x, y + 1, shuffle=False)
    for _ in range(4):
        assert parts.set_params(shuffle=False).partial_fit(x, y + 1, classes=[1, 2, 3]) is parts
    assert all_bytes(parts) == all_bytes(whole)
    assert parts.loss_curve_ == whole.loss_curve_
    assert [record.epoch for record in parts.history_.records] == [1, 2, 3, 4]
    assert (parts.n_iter_, parts.history_.best_epoch) == (4, whole.history_.best_epoch)


def test_partial_fit_is_told_of_classes_that_come_later():
    """The first rows may hold some of the labels; one that was not stated is refused by name."""
    x, y = blobs()
    network, names = small_network(), np.array(["a", "b", "c"])
    with pytest.raises(InputError, match=r"y holds 2 different labels \(a, b\), expected 3"):
        network.partial_fit(x[y < 2], names[y[y < 2]])
    for _ in range(20):
        network.partial_fit(x[y < 2], names[y[y < 2]], classes=names)
        network.partial_fit(x[y == 2], names[y[y == 2]])
    assert network.score(x, names[y]) > 0.9
    with pytest.raises(InputError, match="y holds label d, expected one of a, b, c"):
        network.partial_fit(x[:1], ["d"])


def test_scikit_learn_accepts_it():
    """cross_val_score, GridSearchCV, clone and Pipeline treat it as a classifier."""
    pytest.importorskip("sklearn")
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = blobs(rows=150)
    network = small_network(epochs=30, config={"seed": 1})
    assert is_classifier(network)
    assert cross_val_score(network, x, y, cv=3).min() > 0.85
    names = np.array(["red", "green", "blue"])[y]
    search = GridSearchCV(network, {"learning_rate": [1e-6, 0.02], "layer_sizes": [(5, 7, 3), (5, 9, 3)]}, cv=2)
    search.fit(x, names)
    assert search.best_params_["learning_rate"] == 0.02
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


def test_a_file_says_what_the_classes_are_called(tmp_path):
    """Labels of an earlier training are not those of what is loaded, unless they are called alike."""
    x, y = blobs()
    network, other = small_network(epochs=1), small_network(epochs=1)
    network.fit(x, y + 1)
    network.save_weights(tmp_path / "numbers.npz")
    other.fit(x, np.array(["a", "b", "c"])[y])
    other.load_weights(tmp_path / "numbers.npz")
    assert other.class_names == ("1", "2", "3")
    assert not hasattr(other, "classes_")
    assert (other.predict(x) + 1 == network.predict(x)).all()
    network.load_weights(tmp_path / "numbers.npz")
    assert network.classes_.tolist() == [1, 2, 3]


@pytest.mark.parametrize("sizes", [(5, 7, 3), (5, 300, 3)])
def test_several_processes_find_what_one_finds(sizes):
    """Cross-validation in two processes: the same bits."""
    pytest.importorskip("sklearn")
    from sklearn.model_selection import cross_val_predict

    x, y = blobs()
    network = small_network(sizes=sizes, epochs=3)
    found = [cross_val_predict(network, x, y, cv=3, n_jobs=jobs, method="predict_proba") for jobs in (1, 2)]
    assert found[0].tobytes() == found[1].tobytes()


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


def _far_table(path, names=("a", "b"), rows=300):
    """A table whose second column is 1e6 and a little, which is what decides the label."""
    rng = np.random.default_rng(0)
    cells = {"a": rng.normal(size=rows), "b": 1e6 + rng.uniform(-0.05, 0.05, rows)}
    labels = np.where(cells["b"] > 1e6, "high", "low")
    lines = [",".join([*(repr(float(cells[name][row])) for name in names), labels[row]]) for row in range(rows)]
    path.write_text("\n".join([",".join([*names, "state"]), *lines]) + "\n")
    return labels


def test_a_datasets_columns_go_with_the_model(tmp_path):
    """Offsets, names and classes of a file: whoever reads another file by the model gets what was learned."""
    labels = _far_table(tmp_path / "far.csv")
    data = load_dataset(tmp_path / "far.csv", label="state")
    network = small_network(sizes=(2, 8, 2), epochs=60, standardize="per-feature")
    network.fit(data.x, data.y)
    model = network.to_model(dataset=data)
    assert (model.class_names, Schema.of(model)) == (("high", "low"), data.schema)
    _far_table(tmp_path / "swapped.csv", names=("b", "a"))
    for name in ("far.csv", "swapped.csv"):
        rows = read_rows(tmp_path / name, n_in=2, schema=Schema.of(model)).x
        found = np.array(model.class_names)[er.Engine(model).predict(rows)]
        assert np.mean(found == labels) > 0.95
    assert network.to_model(["x", "y"], {"schema": "mine"}, data).class_names == ("x", "y")
    assert network.to_model(["x", "y"], {"schema": "mine"}, data).metadata["schema"] == "mine"


def test_another_dataset_than_that_of_the_training_is_refused():
    """One of another width, and what is no dataset, by what was found and expected."""
    network = small_network(epochs=1)
    network.fit(*blobs())
    with pytest.raises(ConfigurationError, match="dataset has 64 columns, the network takes 5; give the one that"):
        network.to_model(dataset=load_dataset("digits"))
    with pytest.raises(ConfigurationError, match=r"dataset is .*, expected what load_dataset gives, or a part of it"):
        network.to_model(dataset=blobs()[0])


@pytest.mark.parametrize("names", [np.array([1, 2, 3]), np.array(["a", "b", "c"]), np.array([0.5, 1.5, 2.5])], ids=str)
def test_class_weight_is_by_label(names):
    """Its keys are the labels that `fit` is given, in whatever numbers or words; others are refused."""
    x, y = blobs()
    by_index, by_label, step = (small_network(epochs=2) for _ in range(3))
    by_index.fit(x, y, class_weight={0: 5.0, 2: 0.5})
    by_label.fit(x, names[y], class_weight={names[0]: 5.0, names[2].item(): 0.5})
    assert all_bytes(by_label) == all_bytes(by_index)
    step.set_params(class_weight={names[0].item(): 5.0, 7: 1.0})
    for learn in (step.fit, step.partial_fit):
        with pytest.raises(ConfigurationError, match=r"class_weight names class 7, expected labels of .*; those that"):
            learn(x, names[y])
    by_index.set_params(class_weight={0: 5.0}).partial_fit(x, y)
    by_label.set_params(class_weight={names[0]: 5.0}).partial_fit(x, names[y])
    assert all_bytes(by_label) == all_bytes(by_index)


def test_a_first_partial_fit_of_few_rows_is_doubted():
    """The scales come from it once for all: of one row, or one class, a word is said; of enough rows none."""
    x, y = blobs()
    order = np.argsort(y, kind="stable")
    for rows, found in (
        (order[:1], "1 row of one class"),
        ([0, 1, 2], "3 rows,"),
        (order[:20], "20 rows of one class"),
    ):
        network = small_network(standardize="per-feature")
        with pytest.warns(DataWarning, match=f"the first call of partial_fit has {found}.*begin with 10 rows or more"):
            network.partial_fit(x[rows], y[rows])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network.partial_fit(x[:1], y[:1])
        small_network(standardize="per-feature").partial_fit(x[:10], y[:10])
        small_network(standardize="none").partial_fit(x[:1], y[:1])


def test_one_output_is_predicted_as_a_row_of_numbers_whoever_asks(tmp_path):
    """(rows,) after `fit`, whatever shape the targets had, and after `load_weights`, to the same bits."""
    x, _ = blobs()
    for targets in (x[:, 0], x[:, :1]):
        fitted, loaded = (small_network(("relu", "linear"), (5, 4, 1), epochs=2) for _ in range(2))
        fitted.fit(x, targets)
        fitted.save_weights(tmp_path / "one.npz")
        loaded.load_weights(tmp_path / "one.npz")
        assert fitted.predict(x).shape == loaded.predict(x).shape == (len(x),)
        np.testing.assert_allclose(loaded.predict(x), fitted.predict(x), rtol=1e-5, atol=1e-5)
        assert loaded.score(x, targets) == pytest.approx(fitted.score(x, targets), abs=1e-5)
