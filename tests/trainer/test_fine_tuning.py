import warnings
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Dense, Engine, InputError, QuantizedDense, selftest
from edge_runtime.artifact import save_bytes
from export import quantize
from tests.networks import random_layer_norm, random_model, random_rows
from tests.trainer.quantized import coarse
from tests.trainer.samples import blobs, small_network
from trainer import ConfigurationError, DataWarning, fine_tune
from trainer.datasets import load_dataset
from trainer.fine_tuning import NOTE, training_blocks
from trainer.network import LayerChain


@pytest.fixture(scope="module")
def classifier():
    """Of digits: float32, and so coarse a quantized form that it errs often; rows and labels."""
    digits = load_dataset("digits")
    x, y = digits.x[:600], digits.y[:600]
    network = small_network(sizes=(64, 12, 10), config={"seed": 0})
    network.fit(x[:450], y[:450], epochs=15)
    model = network.to_model()
    return model, coarse(quantize(model, x[:450], method="minmax", test_vectors=0), 90), x, y


def accuracy(model, x, y):
    return float(np.mean(Engine(model).predict(x) == y))


def test_it_wins_back_what_rounding_took(classifier):
    """On rows that it never saw, of weights of which few steps are left."""
    model, small, x, y = classifier
    tuned = fine_tune(model, small, x[:450], y[:450], epochs=15, learning_rate=0.01)
    before, after, floats = (accuracy(each, x[450:], y[450:]) for each in (small, tuned, model))
    assert before < floats - 0.2
    assert after > floats - 0.05
    assert tuned.precision == "int8"


def test_what_it_returns_is_what_it_trained(classifier):
    """Its own forward pass on the result and the engine's logits have the same bits; grids are as they were."""
    model, small, x, y = classifier
    tuned = fine_tune(model, small, x, y, epochs=3)
    blocks = training_blocks(model, tuned)
    chain = LayerChain(blocks)
    chain.resize(len(x))
    chain.infer(tuned.preprocessing(x), [block.folded() for block in blocks])
    found = Engine(tuned).logits(x)
    np.testing.assert_array_equal(found.view(np.uint32), np.ascontiguousarray(blocks[-1].z).view(np.uint32))
    assert (found != Engine(small).logits(x)).any()
    for before, after in zip(small.layers, tuned.layers, strict=True):
        assert (before.input, before.output) == (after.input, after.output)


def test_the_same_seed_gives_the_same_bytes(classifier):
    """However often it is asked for; another seed another order of rows."""
    model, small, x, y = classifier
    first, again, other = (save_bytes(fine_tune(model, small, x, y, epochs=2, seed=seed)) for seed in (3, 3, 4))
    assert first == again != other


def test_the_arguments_are_left_alone(classifier):
    """Models and rows have the same bytes afterwards."""
    model, small, x, y = classifier
    kept = save_bytes(model), save_bytes(small), x.tobytes()
    fine_tune(model, small, x, y, epochs=1, augment=None)
    assert kept == (save_bytes(model), save_bytes(small), x.tobytes())


def test_the_best_epoch_on_held_out_rows_is_kept(classifier):
    """Epochs are told one by one; what is returned reaches on those rows what its epoch did."""
    model, small, x, y = classifier
    told = []
    held = x[450:], y[450:]
    tuned = fine_tune(
        model, small, x[:450], y[:450], epochs=8, monitor="metric", validation_data=held, on_epoch=told.append
    )
    assert [record.epoch for record in told] == list(range(1, 9))
    assert accuracy(tuned, *held) == pytest.approx(max(record.validation_metric for record in told))


def test_without_a_gain_the_model_is_returned_as_it_was(classifier):
    """The very object, and a warning that says so: steps that are far too large help nobody."""
    model, small, x, y = classifier
    with pytest.warns(DataWarning, match=r"no epoch was better than the model before \(loss .*, accuracy .*it stays"):
        assert fine_tune(model, small, x, y, epochs=1, learning_rate=1e-9) is small


def test_too_few_rows_to_hold_some_out_are_judged_on_all(classifier):
    """A handful of rows: the model learns them."""
    model, small, x, y = classifier
    tuned = fine_tune(model, small, x[:12], y[:12], epochs=20)
    assert "on 12 rows" in tuned.metadata[NOTE]


def test_the_metadata_say_how_it_was_done(classifier):
    """Settings, seed, and what was reached before and after; what stood there stays."""
    model, small, x, y = classifier
    tuned = fine_tune(model, replace(small, metadata={"data": "blobs"}), x, y, epochs=4, seed=5)
    assert tuned.metadata["data"] == "blobs"
    note = tuned.metadata[NOTE]
    assert "of 4, adam, learning rate 0.001, cosine, batches of 32, seed 5; loss " in note
    assert note.endswith(" after, on 60 rows")


def test_test_vectors_keep_their_inputs_and_prove_the_new_model(classifier):
    """The self-test holds."""
    model, _, x, y = classifier
    small = coarse(quantize(model, x, method="minmax", test_vectors=5), 90)
    tuned = fine_tune(model, small, x, y, epochs=2)
    np.testing.assert_array_equal(tuned.test_vectors.inputs, small.test_vectors.inputs)
    assert (tuned.test_vectors.outputs != small.test_vectors.outputs).any()
    assert selftest(tuned).ok


def test_weights_of_rows_count(classifier):
    """A row that weighs nothing is not there: with or without it the bytes are the same. Classes may weigh too."""
    model, small, x, y = classifier
    held = x[500:], y[500:]
    weight = np.arange(500) % 3
    kept = weight > 0
    weight[kept] = 1
    by_weight = fine_tune(model, small, x[:500], y[:500], sample_weight=weight, validation_data=held, epochs=2)
    without = fine_tune(model, small, x[:500][kept], y[:500][kept], validation_data=held, epochs=2)
    assert save_bytes(by_weight) == save_bytes(without)
    classes = fine_tune(model, small, x[:500], y[:500], class_weight="balanced", validation_data=held, epochs=2)
    assert save_bytes(classes) != save_bytes(fine_tune(model, small, x[:500], y[:500], validation_data=held, epochs=2))


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_regression_in_whatever_units(factor):
    """Targets far from 0 and of any size: half of what rounding took of R^2 comes back, and more."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 4)).astype(np.float32)
    y = factor * np.column_stack([np.sin(x[:, 0]) + x[:, 1], 40 + x[:, 2] * x[:, 3]])
    network = small_network(("relu", "linear"), (4, 24, 2))
    network.fit(x, y, epochs=40)
    model = network.to_model()
    small = coarse(quantize(model, x, method="minmax"))
    tuned = fine_tune(model, small, x[:600], y[:600], epochs=20)

    def error(each):
        return float(np.square((Engine(each).run(x[600:]) - y[600:]) / y.std(axis=0)).mean())

    assert error(tuned) - error(model) < 0.5 * (error(small) - error(model))


def test_an_autoencoder():
    """Rows are their own targets."""
    x = random_rows(600, 3) @ np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    network = small_network(("relu", "linear"), (8, 12, 8))
    network.fit(x, x, epochs=30)
    model = network.to_model()
    small = coarse(quantize(model, x, method="minmax"))
    tuned = fine_tune(model, small, x, x, epochs=15)
    errors = [float(np.square(Engine(each).run(x) - x).mean()) for each in (small, tuned)]
    assert errors[1] < 0.7 * errors[0]


def as_logits(model, activation="linear"):
    """The same without its last activation, as networks come that were trained elsewhere; nothing names its classes."""
    last = replace(model.layers[-1], activation=activation)
    return replace(model, layers=(*model.layers[:-1], last), class_names=(), metadata={})


@pytest.mark.parametrize("activation", ["linear", "log_softmax"])
@pytest.mark.parametrize("form", ["labels", "column", "one-hot"])
def test_logits_learn_from_classes_as_probabilities_do(classifier, activation, form):
    """Bit for bit: a classifier without its softmax, or with its logarithm, ends with the same integers."""
    model, small, x, y = classifier
    given = {"labels": y, "column": y[:, None], "one-hot": np.eye(10, dtype=np.float32)[y]}[form]
    wanted = fine_tune(model, small, x, given, epochs=4, learning_rate=0.01)
    found = fine_tune(
        as_logits(model, activation), as_logits(small, activation), x, given, epochs=4, learning_rate=0.01
    )
    assert found.final_activation.name == activation
    np.testing.assert_array_equal(Engine(found).logits(x), Engine(wanted).logits(x))


def test_one_logit_learns_from_classes_as_a_probability_does():
    """By name of the loss, by what the model says of itself, or by truth values; numbers else are targets."""
    x, y = blobs(300, 5, 2)
    network = small_network(("relu", "sigmoid"), (5, 9, 1))
    network.fit(x, y, epochs=15)
    model = network.to_model()
    small = coarse(quantize(model, x, method="minmax"), 60)
    wanted = Engine(fine_tune(model, small, x, y, epochs=6, learning_rate=0.01)).logits(x)
    floats, plain = as_logits(model), as_logits(small)
    says = replace(plain, metadata={"target": "class"})
    for start, truth, loss in ((plain, y, "binary_cross_entropy"), (says, y, None), (plain, y.astype(bool), None)):
        found = fine_tune(floats, start, x, truth, epochs=6, learning_rate=0.01, loss=loss)
        np.testing.assert_array_equal(Engine(found).logits(x), wanted)
    assert not np.array_equal(Engine(fine_tune(floats, plain, x, y, epochs=6, learning_rate=0.01)).logits(x), wanted)


def test_the_kept_epoch_is_the_most_accurate_and_never_below_the_model_before(classifier):
    """Of classes, by default, among those of no higher loss: more right answers by chance count for nothing."""
    model, small, x, y = classifier
    held = x[450:], y[450:]
    before = accuracy(small, *held)
    loss = float(-np.log(Engine(small).run(x[450:])[np.arange(150), y[450:]]).mean())
    for rate in (0.3, 0.01, 0.0003):
        told = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            tuned = fine_tune(
                model, small, x[:450], y[:450], epochs=6, learning_rate=rate, validation_data=held,
                on_epoch=told.append,
            )  # fmt: skip
        most = max([before, *(record.validation_metric for record in told if record.validation_loss <= loss)])
        assert accuracy(tuned, *held) == pytest.approx(most)


def test_a_lower_score_on_rows_kept_apart_leaves_the_model_before():
    """Chosen by another measure, an epoch that loses R^2 is not kept; the warning has both figures."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    y = np.column_stack([np.sin(x[:, 0]) + x[:, 1], 0.01 * x[:, 2]]).astype(np.float32)
    network = small_network(("relu", "linear"), (4, 24, 2))
    network.fit(x, y, epochs=40)
    model = network.to_model()
    small = quantize(model, x, method="minmax")
    far = y[:300] + np.array([3, 0], np.float32)
    held = x[300:], y[300:] + np.where(np.arange(100)[:, None] < 60, 3, -30).astype(np.float32) * [1, 0]
    with pytest.warns(DataWarning, match=r"R\^2 fell from .* to .* on 100 rows: the model before stays"):
        assert fine_tune(model, small, x[:300], far, epochs=3, monitor="metric", validation_data=held) is small


def test_rows_without_labels_learn_what_the_float_model_answers(classifier):
    """y None: more decisions are those of the float model than before."""
    model, small, x, _ = classifier
    tuned = fine_tune(model, small, x[:450], None, epochs=15, learning_rate=0.01)
    wanted = Engine(model).predict(x[450:])
    assert accuracy(tuned, x[450:], wanted) > accuracy(small, x[450:], wanted) + 0.1


@pytest.mark.parametrize("kept", ["float32", "float16"])
def test_float_layers_of_a_mixed_model_are_trained_as_floats(kept, classifier):
    """Of their own precision, and the grids around them serve on."""
    model, small, x, y = classifier
    last, dtype = model.layers[1], np.dtype(kept)
    first = small.layers[0]
    first = replace(
        first, output=None, multiplier=(first.multiplier * np.float32(first.output.scale)).astype(np.float32)
    )
    mixed = replace(small, layers=(first, replace(last, weight=last.weight.astype(dtype))))
    tuned = fine_tune(model, mixed, x[:450], y[:450], epochs=10, learning_rate=0.005)
    assert [type(layer) for layer in tuned.layers] == [QuantizedDense, Dense]
    assert tuned.layers[1].weight.dtype == dtype
    assert (tuned.layers[1].weight != mixed.layers[1].weight).any()
    assert accuracy(tuned, x[450:], y[450:]) > accuracy(mixed, x[450:], y[450:])


def test_what_cannot_be_trained_is_refused(classifier):
    """With the layer's name, what it is and what was expected."""
    model, small, x, y = classifier
    with pytest.raises(ConfigurationError, match="quantized is a float32 model, expected layers in int8 or int4"):
        fine_tune(model, model, x, y)
    renamed = replace(model, layers=(replace(model.layers[0], name="first"), model.layers[1]))
    with pytest.raises(ConfigurationError, match="layer 'dense0' of quantized is 64 x 12, the model's is none"):
        fine_tune(renamed, small, x, y)
    other = replace(
        model,
        layers=(model.layers[0], replace(random_model([12, 5], ["softmax"]).layers[0], name="dense1")),
        class_names=(),
    )
    with pytest.raises(ConfigurationError, match=r"layer 'dense1' of quantized is 12 x 10, the model's is Dense\("):
        fine_tune(other, small, x, y)
    ends = replace(small, layers=(small.layers[0], replace(small.layers[1], activation="gelu")))
    with pytest.raises(ConfigurationError, match="layer 'dense1' has gelu, which can be run but not trained"):
        fine_tune(model, ends, x, y)
    staged = replace(small, layers=(random_layer_norm(64), *small.layers))
    with pytest.raises(ConfigurationError, match="layer 'norm' is a LayerNorm, which cannot be fine-tuned"):
        fine_tune(model, staged, x, y)
    with pytest.raises(InputError, match=r"x has shape \(600, 5\), expected \(rows, 64\)"):
        fine_tune(model, small, x[:, :5], y)
    other = replace(model, layers=(replace(model.layers[0], activation="tanh"), model.layers[1]))
    with pytest.raises(
        ConfigurationError, match="layer 'dense0' of quantized has relu, the model's has tanh; give the"
    ):
        fine_tune(other, small, x, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0, expected a whole number of at least 1"),
        ({"epochs": -1}, "epochs is -1, expected a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs is 1.5, expected a whole number"),
        ({"batch_size": 0}, "batch_size is 0, expected a whole number of at least 1"),
        ({"batch_size": -3}, "batch_size is -3, expected a whole number of at least 1"),
        ({"learning_rate": 0}, "learning_rate is 0, expected a finite number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, expected a finite number above 0"),
        ({"validation_share": 1}, "validation_share is 1, expected a finite number at least 0 and below 1"),
        ({"patience": 0}, "patience is 0, expected a whole number of at least 1"),
        ({"seed": -1}, "seed is -1, expected a whole number of at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(classifier, settings, message):
    """By their names, with what was found and expected."""
    model, small, x, y = classifier
    with pytest.raises(ConfigurationError, match=message):
        fine_tune(model, small, x, y, **settings)


@pytest.mark.parametrize("labelled", [True, False])
def test_no_rows_are_refused(classifier, labelled):
    """With labels and without, to learn from and to judge on."""
    model, small, x, y = classifier
    with pytest.raises(InputError, match="x has no rows, expected at least 1"):
        fine_tune(model, small, x[:0], y[:0] if labelled else None)
    with pytest.raises(InputError, match="validation x has no rows, expected at least 1"):
        fine_tune(model, small, x, y, validation_data=(x[:0], y[:0] if labelled else None))


def test_another_float_model_is_told(classifier):
    """By a warning with the share of signs; that which the quantized one was made of gives none."""
    model, small, x, y = classifier
    network = small_network(sizes=(64, 12, 10), config={"seed": 1})
    network.fit(x[:450], y[:450], epochs=15)
    with pytest.warns(
        DataWarning, match=r"quantized was hardly made of this model: \d\d% of its weights have the sign"
    ):
        fine_tune(network.to_model(), small, x, y, epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine_tune(model, small, x, y, epochs=2, learning_rate=0.01)


def test_without_labels_it_speaks_of_agreement(classifier):
    """With the float model, in the warning and in the metadata: nothing is known of what is right."""
    model, small, x, _ = classifier
    with pytest.warns(DataWarning) as told:
        fine_tune(model, small, x, None, epochs=1, learning_rate=1e-9)
    text = str(told[0].message)
    assert "agreement with the float model 0." in text
    assert "accuracy" not in text
    assert "try a lower learning rate, or" in text  # the command's option is not spelled as the argument is
    note = fine_tune(model, small, x, None, epochs=2, learning_rate=0.01).metadata[NOTE]
    assert note.count("agreement with the float model 0.") == 2
    assert "accuracy" not in note


def test_without_labels_values_are_differences_from_the_float_model():
    """Of a regression, whose targets are not known either."""
    x = random_rows(300, 4)
    model = random_model([4, 9, 2], ["relu", "linear"])
    small = coarse(quantize(model, x, method="minmax"))
    note = fine_tune(model, small, x, None, epochs=3).metadata[NOTE]
    assert note.count("mean absolute difference from the float model") == 2


def test_weights_of_nine_bits_are_refused(classifier):
    """Of an import, whose zero points are taken off."""
    model, small, x, y = classifier
    wide = replace(small.layers[0], weight=small.layers[0].weight.astype(np.int16))
    with pytest.raises(ConfigurationError, match="layer 'dense0' has weights of 9 bits"):
        fine_tune(model, replace(small, layers=(wide, small.layers[1])), x, y)


def test_a_trained_network_may_stand_for_its_model(classifier):
    """Whatever has a `to_model`."""
    x, y = blobs(200, 6, 4)
    network = small_network(sizes=(6, 16, 4))
    network.fit(x, y, epochs=5)
    small = coarse(quantize(network, x, method="minmax"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fine_tune(network, small, x, y, epochs=2).metadata[NOTE]
