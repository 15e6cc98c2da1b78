"""Frames from training to the device: columns are read by name, whatever library they come from."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import edge_runtime as er
from edge_runtime.schema import Column, Schema
from edge_runtime.version import made_with
from export import quantize, verify, write_onnx
from tests.frames import Frame, Series
from trainer import DenseClassifier, NeuralNetwork, NeuralNetworkModel

NAMES = ("width", "height", "is_round")
RNG = np.random.default_rng(0)
ROWS = np.column_stack([RNG.normal(size=(80, 2)), RNG.integers(0, 2, 80)]).astype(np.float32)
LABELS = np.where(ROWS[:, 0] > 0, "up", "down")


def library(name: str) -> tuple[Callable[[dict[str, Any]], Any], Callable[[Any], Any]]:
    """How a frame and a column are made."""
    if name == "stand-in":
        return Frame, Series
    module = importlib.import_module(name)
    return module.DataFrame, module.Series


INSTALLED = [name for name in ("pandas", "polars") if importlib.util.find_spec(name)]


@pytest.fixture(params=["stand-in", *INSTALLED])
def make(request: pytest.FixtureRequest) -> Any:
    return library(request.param)


def columns(**changed: Any) -> dict[str, Any]:
    """The columns, of three types."""
    cells = {"width": ROWS[:, 0], "height": ROWS[:, 1].astype(np.float64), "is_round": ROWS[:, 2] > 0}
    return {name: cells for name, cells in (cells | changed).items() if cells is not None}


def shuffled(**changed: Any) -> dict[str, Any]:
    """In another order, with a column that no model knows."""
    return dict(reversed(columns(label=LABELS.tolist(), **changed).items()))


def trained() -> NeuralNetwork:
    network = NeuralNetwork([3, 4, 2], ["relu", "softmax"], epochs=3)
    network.fit(Frame(columns()), LABELS)
    return network


def test_a_network_learns_from_frames(make: Any) -> None:
    """To the same bits as from arrays; labels may be a column, or a frame of one; validation rows come in any order."""
    frame, series = make
    expected, found, labelled = (NeuralNetwork([3, 4, 2], ["relu", "softmax"], epochs=3) for _ in range(3))
    expected.fit(ROWS, LABELS, validation_data=(ROWS[:9], LABELS[:9]))
    assert not hasattr(expected, "feature_names_in_")
    part = {name: cells[:9] for name, cells in shuffled().items()}
    found.fit(frame(columns()), series(LABELS.tolist()), validation_data=(frame(part), LABELS[:9]))
    labelled.fit(frame(columns()), frame({"label": LABELS.tolist()}), validation_data=(ROWS[:9], LABELS[:9]))
    for network in (found, labelled):
        assert network.weights[0].tobytes() == expected.weights[0].tobytes()
        assert network.feature_names_in_.tolist() == list(NAMES)
    assert (found.predict(frame(shuffled())) == expected.predict(ROWS)).all()
    assert found.predict_proba(frame(shuffled())).tobytes() == expected.predict_proba(ROWS).tobytes()
    assert found.score(frame(shuffled()), series(LABELS.tolist())) == expected.score(ROWS, LABELS)
    assert found.evaluate(frame(shuffled()), LABELS) == expected.evaluate(ROWS, LABELS)
    found.fit(ROWS, LABELS)
    assert not hasattr(found, "feature_names_in_")


def test_names_are_kept_where_learning_goes_on(make: Any) -> None:
    """A warm start and a partial fit read later frames by the first one's names."""
    frame, _ = make
    once, twice = (NeuralNetwork([3, 4, 2], ["relu", "softmax"], epochs=3) for _ in range(2))
    once.partial_fit(ROWS, LABELS).partial_fit(ROWS, LABELS)
    twice.partial_fit(frame(columns()), LABELS).partial_fit(frame(shuffled()), LABELS)
    assert once.weights[0].tobytes() == twice.weights[0].tobytes()
    with pytest.raises(er.InputError, match="x has no column 'height'"):
        twice.partial_fit(frame(shuffled(height=None)), LABELS)


def test_numbers_as_labels_may_be_a_column(make: Any) -> None:
    """Truth values and whole numbers of a column are labels as those of an array are."""
    _, series = make
    for labels in ((LABELS == "up").tolist(), (LABELS == "up") * 4 + 3, np.array((LABELS == "up").tolist(), object)):
        network = NeuralNetwork([3, 2], ["softmax"], epochs=1)
        network.fit(ROWS, series(labels))
        assert network.classes_.tolist() == sorted(set(np.asarray(labels).tolist()))
        assert network.evaluate(ROWS, labels).metric == network.score(ROWS, series(labels))


def test_a_plain_network_takes_frames_by_place(make: Any) -> None:
    """It keeps no names."""
    frame, _ = make
    network = NeuralNetworkModel([3, 2], ["softmax"])
    network.fit(frame(columns()), LABELS == "up", epochs=1)
    assert network.forward(frame(columns())).tobytes() == network.forward(ROWS).tobytes()


USES: dict[str, Callable[[Any], Any]] = {
    "fit": lambda x: NeuralNetwork([3, 2], ["softmax"]).fit(x, LABELS),
    "estimator": lambda x: DenseClassifier(epochs=1).fit(x, LABELS),
    "predict": lambda x: trained().predict(x),
    "predict_proba": lambda x: trained().predict_proba(x),
    "score": lambda x: trained().score(x, LABELS),
    "run": lambda x: er.Engine(trained().to_model()).run(x),
    "engine predict": lambda x: er.Engine(trained().to_model()).predict(x),
    "quantize": lambda x: quantize(trained().to_model(), x),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["a"] * 80, r"column 'height'.*(holds 'a'|'a' is not a number)"),
        ([1.0] * 79 + [None], r"column 'height' has no value in 1 of 80 rows"),
        ([None] * 80, r"column 'height' has no value in 80 of 80 rows"),
    ],
    ids=["text", "missing", "all missing"],
)
def test_a_column_that_is_no_number_is_refused_by_its_name(use: str, cells: Any, message: str, make: Any) -> None:
    """Wherever frames are taken."""
    frame, _ = make
    with pytest.raises(er.SmallnetError, match=message):
        USES[use](frame(columns(height=np.array(cells, object) if frame is Frame else cells)))


@pytest.mark.parametrize("use", sorted(set(USES) - {"fit", "estimator"}))
def test_a_column_that_is_not_there_is_named(use: str, make: Any) -> None:
    """Another name is another column."""
    frame, _ = make
    with pytest.raises(er.SmallnetError, match=r"no column 'height'.*'Height'"):
        USES[use](frame({"Height" if name == "height" else name: cells for name, cells in columns().items()}))


def test_the_device_reads_frames_by_name(make: Any, tmp_path: Any) -> None:
    """The names go with the artifact and the ONNX file; run, predict, trace, quantize and verify go by them."""
    frame, _ = make
    model = trained().to_model()
    er.save(model, tmp_path / "m.npz")
    loaded = er.load(tmp_path / "m.npz")
    schema = Schema.of(loaded)
    assert schema is not None
    assert schema.feature_names == NAMES
    engine = er.Engine(loaded)
    assert engine.run(frame(shuffled())).tobytes() == engine.run(ROWS).tobytes()
    assert engine.run(frame(shuffled()), check_finite=True).tobytes() == engine.run(ROWS).tobytes()
    assert (engine.predict(frame(shuffled())) == engine.predict(ROWS)).all()
    assert engine.trace(frame(shuffled())).keys() == engine.trace(ROWS).keys()
    small = quantize(loaded, frame(shuffled()))
    assert er.Engine(small).run(ROWS).tobytes() == er.Engine(quantize(loaded, ROWS)).run(ROWS).tobytes()
    write_onnx(small, tmp_path / "m.onnx")
    assert verify(small, tmp_path / "m.onnx", frame(shuffled())).ok


def test_categories_and_offsets_of_a_schema_are_applied(make: Any) -> None:
    """A frame is read as a file is: texts become their inputs, offsets are taken off in float64."""
    frame, _ = make
    weight = np.array([[1.0], [2.0], [4.0]], np.float32)
    schema = Schema((Column("t", offset=1e9), Column("kind", ("round", "flat"))))
    layer = er.Dense("dense0", weight, np.zeros(1, np.float32), er.Activation.of("linear"))
    engine = er.Engine(er.Model((layer,), metadata={"schema": schema.text()}))
    found = engine.run(frame({"kind": ["flat", "round"], "t": [1e9 + 0.25, 1e9 - 0.5]}))
    assert found.tolist() == [[4.25], [1.5]]


def test_a_network_that_is_loaded_reads_frames_by_name(make: Any, tmp_path: Any) -> None:
    """The names come with the file, and go on to the next; what the file does to columns is done to frames."""
    frame, _ = make
    trained().save_weights(tmp_path / "n.npz")
    network = NeuralNetwork([3, 4, 2], ["relu", "softmax"])
    network.load_weights(tmp_path / "n.npz")
    assert network.feature_names_in_.tolist() == list(NAMES)
    assert (network.predict(frame(shuffled())) == network.predict(ROWS)).all()
    assert Schema.of(network.to_model()) == Schema.of(er.load(tmp_path / "n.npz"))
    schema = Schema((Column("t", offset=1e9), Column("kind", ("round", "flat"))))
    er.save(network.to_model(metadata={"schema": schema.text()}), tmp_path / "s.npz")
    network.load_weights(tmp_path / "s.npz")
    found = network.forward(frame({"kind": ["flat", "round"], "t": [1e9 + 0.25, 1e9 - 0.5]}))
    np.testing.assert_array_equal(found, network.forward([[0.25, 0, 1], [-0.5, 1, 0]]))


@pytest.mark.parametrize("rule", ["drop", "mean"])
def test_every_row_of_a_frame_gets_an_answer(rule: str, make: Any) -> None:
    """A row that would be left out of a file is refused by name; a cell that would be filled in is."""
    frame, _ = make
    schema = Schema((Column("a", fill=2.0), Column("b", fill=3.0)), missing=rule)
    layer = er.Dense("dense0", np.ones((2, 1), np.float32), np.zeros(1, np.float32), er.Activation.of("linear"))
    engine = er.Engine(er.Model((layer,), metadata={"schema": schema.text()}))
    rows = frame({"b": [np.nan, 5.0], "a": [1.0, 1.0]})
    if rule == "mean":
        assert engine.run(rows).tolist() == [[4.0], [6.0]]
    else:
        with pytest.raises(er.InputError, match="column 'b' has no value in 1 of 2 rows"):
            engine.run(rows)


def test_frames_without_names_are_taken_by_place() -> None:
    """Columns that are only counted, as pandas does; the same for a model without a schema."""
    network = NeuralNetwork([3, 2], ["softmax"], epochs=1)
    network.fit(Frame(dict(enumerate(ROWS.T))), LABELS)
    assert not hasattr(network, "feature_names_in_")
    model = network.to_model()
    assert "schema" not in model.metadata
    assert er.Engine(model).run(Frame(columns())).tobytes() == er.Engine(model).run(ROWS).tobytes()


def test_estimators_keep_the_names(make: Any) -> None:
    """As scikit-learn does: they are there after `fit`, and go with the model; another order is refused at predict."""
    frame, series = make
    if frame is Frame:
        return  # scikit-learn reads the frames of libraries that it knows
    model = DenseClassifier(epochs=2).fit(frame(columns()), series(LABELS.tolist()))
    assert model.feature_names_in_.tolist() == list(NAMES)
    assert model.to_model(metadata={"by": "test"}).metadata == {
        "schema": Schema(tuple(map(Column, NAMES))).text(),
        "by": "test",
        **made_with(),
    }
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame(dict(reversed(columns().items()))))
    assert er.Engine(model.to_model()).run(frame(shuffled())).shape == (80, 2)
