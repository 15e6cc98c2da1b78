"""`DenseClassifier` and `DenseRegressor` keep scikit-learn's contract."""

import contextlib
import os
import pickle
import subprocess
import sys
import unittest

import numpy as np
import pytest

import edge_runtime as er
from edge_runtime.schema import Column, Schema
from tests.trainer.samples import blobs
from trainer import ConfigurationError, DenseClassifier, DenseRegressor, NeuralNetwork
from trainer.datasets import Dataset
from trainer.errors import DataWarning

sklearn = pytest.importorskip("sklearn")
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

NAMES = np.array(["red", "green", "blue"])
ONE_BATCH = {"train_dtype": "float64", "batch_size": 1000, "validation_share": 0.0, "patience": None}
# A row that weighs 2 is there once in its batch, a row that is there twice may fall into two; and float32 sums round by
# their order. In one batch, in float64, nothing is left of that.
BY_THE_BATCH = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weights_invariance")


@parametrize_with_checks(
    [
        DenseClassifier(),
        DenseRegressor(),
        DenseClassifier(**ONE_BATCH),
        DenseRegressor(**ONE_BATCH),
    ]
)
def test_scikit_learns_own_checks(estimator, check):
    """Every check that scikit-learn has for estimators, by its name."""
    name = getattr(check, "func", check).__name__
    if name in BY_THE_BATCH:
        estimator.set_params(**ONE_BATCH)
    with contextlib.suppress(unittest.SkipTest):  # by the check itself, without pandas or an array API
        check(estimator)


def line(rows=120, seed=0):
    """Rows and a target that is a line of them, far from 0."""
    x = np.random.default_rng(seed).standard_normal((rows, 3))
    return x, x @ [1.0, 2.0, 3.0] + 50


def regressor(**settings):
    return DenseRegressor(**{"hidden": (), "epochs": 60, "learning_rate": 0.05, **settings})


@pytest.mark.parametrize("labels", [NAMES, np.array([3, 7, 9]), np.array([0.0, 1.0, 2.0])], ids=str)
def test_both_ends_come_from_the_data(labels):
    """Widths, classes, and what `fit` finds out; text, other numbers, and numbers of any type are labels."""
    x, y = blobs()
    model = DenseClassifier(hidden=(7, 6), epochs=20).fit(x, labels[y])
    assert model.network_.layer_sizes == [5, 7, 6, 3]
    assert model.classes_.tolist() == sorted(labels.tolist())
    assert (model.n_features_in_, model.n_iter_, len(model.loss_curve_)) == (5, model.n_iter_, model.n_iter_)
    assert model.history_.loss == model.loss_curve_
    assert set(model.predict(x)) <= set(labels)
    assert model.score(x, labels[y]) == np.mean(model.predict(x) == labels[y]) > 0.9
    probabilities = model.predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(x)), probabilities)


def test_two_classes_and_none_hidden():
    """Two columns of probabilities; a network without hidden layers is a linear one."""
    x, y = blobs(classes=2)
    model = DenseClassifier(hidden=()).fit(x, y)
    assert model.predict_proba(x).shape == (90, 2)
    assert model.network_.layer_sizes == [5, 2]
    with pytest.raises(ValueError, match=r"y holds one class only \(1\), expected at least 2 classes"):
        model.fit(x, np.ones(90, int))


@pytest.mark.parametrize("hidden", ["32", 32, None])
def test_widths_that_are_none_are_refused(hidden):
    """By name, when they are used."""
    with pytest.raises(ConfigurationError, match=r"hidden is .*, expected widths such as"):
        DenseClassifier(hidden=hidden).fit(*blobs())


def test_targets_come_back_in_their_shape():
    """One number a row, or several."""
    x, y = line()
    model = regressor().fit(x, y)
    assert model.predict(x).shape == (120,)
    assert model.score(x, y) > 0.99
    several = regressor().fit(x, np.column_stack([y, -y]))
    assert several.predict(x).shape == (120, 2)
    assert several.score(x, np.column_stack([y, -y])) > 0.99


@pytest.mark.parametrize(
    "make", [lambda: DenseClassifier(epochs=5), lambda: regressor(epochs=5)], ids=["class", "number"]
)
def test_what_the_device_gets_is_what_was_trained(make, tmp_path):
    """`to_model` runs in the engine and gives what `predict` gave, with the classes' names."""
    x, y = blobs()
    model = make().fit(x, y + 1)
    er.save(model.to_model(metadata={"by": "test"}), tmp_path / "m.npz")
    loaded = er.load(tmp_path / "m.npz")
    found = er.Engine(loaded).run(x)
    expected = model.predict_proba(x) if is_classifier(model) else model.predict(x)[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert loaded.metadata["by"] == "test"
    if is_classifier(model):
        assert loaded.class_names == ("1", "2", "3")
        assert ([loaded.class_names[k] for k in er.Engine(loaded).predict(x)] == model.predict(x).astype(str)).all()


def test_scikit_learns_tools_take_them():
    """Pipelines, searches, clones, scores of several processes: as of one, to the last bit."""
    x, y = blobs(rows=150)
    model = make_pipeline(StandardScaler(), DenseClassifier(epochs=10))
    assert is_classifier(model)
    assert is_regressor(DenseRegressor())
    alone, together = (cross_val_score(model, x, NAMES[y], cv=3, n_jobs=jobs) for jobs in (1, 2))
    assert (alone == together).all()
    assert alone.min() > 0.85
    alone, together = (
        cross_val_predict(DenseClassifier(epochs=3), x, y, cv=3, n_jobs=jobs, method="predict_proba") for jobs in (1, 2)
    )
    assert alone.tobytes() == together.tobytes()
    search = GridSearchCV(
        model,
        {"denseclassifier__hidden": [(8,), (8, 4)], "denseclassifier__learning_rate": [1e-7, 0.05]},
        cv=2,
        n_jobs=2,
    )
    search.fit(x, NAMES[y])
    assert search.best_params_["denseclassifier__learning_rate"] == 0.05
    assert search.score(x, NAMES[y]) > 0.85


THREADS = """
import sys
import numpy as np
from trainer import DenseClassifier
x = np.random.default_rng(0).standard_normal((1500, 64))
model = DenseClassifier(hidden=(300,), epochs=1, batch_size=500).fit(x, x[:, 0] > 0)
sys.stdout.write(model.predict_proba(x).tobytes().hex())
"""


def test_the_number_of_threads_changes_no_bit():
    """As n_jobs does, which divides the processors' threads among its processes."""
    found = [
        subprocess.check_output(
            [sys.executable, "-c", THREADS], env={**os.environ, "OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n}
        )
        for n in ("1", "2")
    ]
    assert found[0] == found[1]


def test_clones_and_pickles():
    """A clone has the parameters and has learned nothing; a pickle has learned what the original has."""
    x, y = blobs()
    model = DenseClassifier(hidden=(4,), epochs=3, class_weight={0: 2.0}).fit(x, y)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        twin.predict(x)
    assert (pickle.loads(pickle.dumps(model)).predict_proba(x) == model.predict_proba(x)).all()
    assert (twin.fit(x, y).predict_proba(x) == model.predict_proba(x)).all()


@pytest.mark.parametrize("use", ["predict", "predict_proba", "score", "to_model"])
def test_nothing_is_predicted_before_fit(use):
    """scikit-learn's own error."""
    x, y = blobs()
    arguments = {"score": (x, y), "to_model": ()}.get(use, (x,))
    with pytest.raises(NotFittedError):
        getattr(DenseClassifier(), use)(*arguments)


def test_random_state():
    """A whole number is the network's seed; a generator is drawn from; None is another network each time."""
    x, y = blobs()

    def weights(state):
        return DenseClassifier(hidden=(4,), epochs=0, random_state=state).fit(x, y).network_.weights[0].tobytes()

    assert weights(3) == weights(3) != weights(4)
    assert weights(np.random.RandomState(3)) == weights(np.random.RandomState(3))
    generator = np.random.RandomState(3)
    assert weights(generator) != weights(generator)
    assert weights(None) != weights(None)
    assert DenseClassifier(epochs=0, random_state=3).fit(x, y).network_.config.seed == 3


def test_a_warm_start_goes_on():
    """From what was learned, with the settings of now; for the same classes and widths only."""
    x, y = blobs()
    model = DenseClassifier(hidden=(32,), epochs=5, learning_rate=0.05, warm_start=True).fit(x, y)
    first = model.network_
    later = model.set_params(epochs=1, l2_lambda=0.5).fit(x, y)
    assert model.network_ is first
    assert (first.l2_lambda, later.n_iter_) == (0.5, 1)
    cold = clone(model).set_params(warm_start=False, l2_lambda=0.0).fit(x, y)
    assert cold.loss_curve_[0] > 2 * model.set_params(l2_lambda=0.0).fit(x, y).loss_curve_[0]
    with pytest.raises(ValueError, match="y holds label 3, expected one of 0, 1, 2"):
        model.fit(x, y + 1)
    with pytest.raises(ConfigurationError, match="cannot go on with other widths: fit with warm_start=False"):
        model.set_params(hidden=(9,)).fit(x, y)
    assert model.set_params(warm_start=False).fit(x, y).network_.layer_sizes == [5, 9, 3]


def test_partial_fits():
    """Rows may come in parts, with classes that are still to come; each call is an epoch."""
    x, y = blobs()
    model = DenseClassifier(learning_rate=0.05)
    with pytest.raises(ValueError, match="the first call of partial_fit needs classes"):
        model.partial_fit(x, NAMES[y])
    for _ in range(10):
        for part in (y > 0, y == 0):
            assert model.partial_fit(x[part], NAMES[y[part]], classes=NAMES) is model
    assert model.score(x, NAMES[y]) > 0.9
    assert (model.n_iter_, len(model.history_.records)) == (20, 20)
    with pytest.raises(ValueError, match=r"classes are .*, the first call had"):
        model.partial_fit(x, NAMES[y], classes=["red", "green", "grey"])
    with pytest.raises(ValueError, match="class_weight is 'balanced', which partial_fit cannot know"):
        DenseClassifier(class_weight="balanced").partial_fit(x, y, classes=[0, 1, 2])


def test_partial_fits_of_targets():
    """A regressor goes on as well, and does not change the number of its targets."""
    x, y = line()
    model = regressor()
    for _ in range(60):
        model.partial_fit(x, y)
    assert model.score(x, y) > 0.99
    with pytest.raises(ValueError, match="y has 2 targets a row, expected 1 as before"):
        model.partial_fit(x, np.column_stack([y, y]))


def test_class_weight_is_by_label():
    """What a class weighs is stated by its own label; a partial fit takes it too."""
    x, y = blobs()
    y = np.where(np.arange(90) % 3 == 0, y, 0)  # two thirds of all labels are wrong, and are red
    plain, weighted = (
        DenseClassifier(epochs=15, class_weight=weight).fit(x, NAMES[y])
        for weight in (None, {"green": 20.0, "blue": 20.0})
    )
    assert (weighted.predict(x) == "red").sum() < (plain.predict(x) == "red").sum()
    partly = [DenseClassifier(class_weight=weight) for weight in (None, {"green": 20.0})]
    for model in partly:
        model.partial_fit(x, NAMES[y], classes=NAMES)
    assert partly[0].loss_curve_ != partly[1].loss_curve_


def test_the_defaults_are_those_of_the_network():
    """One list for all."""
    ours, theirs = DenseClassifier().get_params(), NeuralNetwork([2, 2], ["softmax"]).get_params()
    assert {name: ours[name] for name in ours if name in theirs} == {
        name: theirs[name] for name in ours if name in theirs
    }
    both = DenseRegressor().get_params()
    assert both == {name: ours[name] for name in both}
    assert set(ours) - set(both) == {"class_weight", "label_smoothing"}
    made = set(theirs) - {"layer_sizes", "activations", "precision_config", "between", "class_names"}
    assert made <= set(ours), "a new setting of NeuralNetwork is one of the estimators' too"


WITHOUT = """
import sys
sys.modules["sklearn"] = None  # as if it were not installed
import trainer
from trainer import *
assert not hasattr(trainer, "estimator")
try:
    trainer.DenseClassifier
except ImportError as error:
    print(error)
"""


def test_without_scikit_learn_the_trainer_works():
    """Everything else is there; who asks for an estimator is told what to install."""
    said = subprocess.check_output([sys.executable, "-c", WITHOUT], text=True)
    assert said.startswith("DenseClassifier and DenseRegressor need scikit-learn 1.4 or newer (")
    assert said.endswith("install: pip install 'smallnet[sklearn]'\n")


def test_a_datasets_columns_go_with_the_model():
    """`to_model(dataset=...)` takes class names and columns from the file that the rows came from."""
    x, y = blobs(classes=2)
    data = Dataset(
        x.astype(np.float32), y, ("no", "yes"), schema=Schema(tuple(Column(name, (), 5.0) for name in "abcde"))
    )
    found = DenseClassifier(epochs=1).fit(data.x, data.y).to_model(dataset=data)
    assert (found.class_names, Schema.of(found)) == (data.class_names, data.schema)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("activation", "tanh"),
        ("dropout_rate", 0.5),
        ("batch_norm", True),
        ("init", "he"),
        ("train_dtype", "float64"),
        ("random_state", 7),
    ],
)
@pytest.mark.parametrize("kind", [DenseClassifier, DenseRegressor])
def test_what_made_the_network_cannot_change_where_learning_goes_on(kind, name, value):
    """A setting that would have no effect is refused, as other widths are; fresh weights take it."""
    x, y = blobs()
    model = kind(epochs=1, warm_start=True).fit(x, y).fit(x, y).set_params(**{name: value})
    for learn in (model.fit, model.partial_fit):
        with pytest.raises(
            ConfigurationError, match=f"{name} is .*, the network that has learned was made with .*; it"
        ):
            learn(x, y)
    model.set_params(warm_start=False).fit(x, y).set_params(warm_start=True).fit(x, y)


def test_targets_that_float32_answers_cannot_tell_apart_are_warned_of_once():
    """As by the network itself."""
    x = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.warns(DataWarning, match="the answers are float32") as seen:
        DenseRegressor(epochs=1).fit(x, 101_325 + 0.05 * x[:, 0])
    assert len(seen) == 1
