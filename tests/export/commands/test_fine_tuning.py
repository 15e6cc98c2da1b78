import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, load, save, selftest
from export import quantize, write_onnx
from export.commands import fine_tuning
from export.commands.fine_tuning import TRAINED_IN
from tests.command import run_command
from tests.networks import random_layer_norm
from tests.trainer.samples import small_network
from trainer.datasets import load_dataset, split
from trainer.fine_tuning import NOTE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A float network of digits, trained briefly, and a table with an autoencoder and a regression."""
    folder = tmp_path_factory.mktemp("tuned")
    trained = run_command("train", "--hidden", "8", "--epochs", "8", "--seed", "3", "--out", folder / "d.npz")
    assert trained.exit_code == 0, trained.stderr
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300))
    lines = ["a;b;kind;y"]
    for row in range(300):
        y = 100 + 3 * a[row] - a[row] * b[row] + row % 3
        lines.append(f"{a[row]:.5f};{b[row]:.5f};{'xyz'[row % 3]};{y:.5f}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder


def tuned(folder, *more, start="d.npz", data="digits"):
    return run_command(
        "train", "--from", folder / start, "--data", data if data == "digits" else folder / data, "--epochs", "4", *more
    )


@pytest.mark.parametrize("precision", TRAINED_IN)
def test_a_float_model_becomes_a_small_one_that_has_learned_on(folder, tmp_path, precision):
    """The artifact proves itself, says how it was made, and its scores are those of the rows that training held out."""
    rate = ("--learning-rate", "0.005")
    done = tuned(folder, "--quantization-aware", precision, *rate, "--out", tmp_path / "s.npz", "--json")
    assert done.exit_code == 0, done.stderr
    model, facts = load(tmp_path / "s.npz"), json.loads(done.stdout)
    assert model.precision == precision
    assert selftest(model).ok
    assert model.metadata["made_by"] == f"smallnet train --quantization-aware {precision}"
    assert model.metadata["seed"] == "3"
    assert "of 4, adam" in model.metadata[NOTE]
    assert "calibration" in model.metadata
    digits = load_dataset("digits")
    test = split(digits, seed=3).test
    scores = [row["score"] for row in facts["models"]]
    assert scores[2] == pytest.approx(np.mean(Engine(model).predict(test.x) == test.y))
    assert [row["precision"] for row in facts["models"]] == ["float32", precision, precision]
    assert facts["rows_test"] == len(test)
    assert facts["file_bytes"] == (tmp_path / "s.npz").stat().st_size


def test_it_says_what_was_before_and_what_is_after(folder, tmp_path):
    """A table of three lines, which epoch was kept, and the next command, which then runs."""
    done = tuned(folder, "--quantization-aware", "int4", "--out", tmp_path / "s.npz", "--learning-rate", "0.01")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0:2] for line in lines[2:5]] == [
        ["float32", "(before)"], ["int4", "(shrunk)"], ["int4", "(fine-tuned)"]
    ]  # fmt: skip
    assert "best epoch" in lines[5]
    assert lines[-1].startswith("next: ")
    assert "epoch   4/4" in done.stderr
    exported = run_command("export", tmp_path / "s.npz", "--out", tmp_path / "build")
    assert exported.exit_code == 0, exported.stderr
    assert (tmp_path / "build" / "s.onnx").exists()


def test_equal_commands_write_equal_files(folder, tmp_path):
    """Byte for byte; another seed writes others."""
    files = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        done = tuned(folder, "--quantization-aware", "int4", "--seed", seed, "--out", tmp_path / name)
        assert done.exit_code == 0, done.stderr
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize("target", ["regression", "autoencoder"])
def test_tables_keep_their_columns_and_units(folder, tmp_path, target):
    """Read by the model's schema: categories and standardization; an autoencoder has a threshold of its own."""
    start = tmp_path / "t.npz"
    trained = run_command(
        "train",
        "--data",
        folder / "t.csv",
        "--target",
        target,
        "--one-hot",
        "kind",
        "--hidden",
        "12",
        "--epochs",
        "30",
        "--out",
        start,
    )
    assert trained.exit_code == 0, trained.stderr
    command = ["train", "--from", start, "--data", folder / "t.csv", "--quantization-aware", "int8", "--epochs", "3"]
    done = run_command(*command, "--learning-rate", "0.0005", "--out", tmp_path / "s.npz", "--json")
    assert done.exit_code == 0, done.stderr
    before, after, facts = load(start), load(tmp_path / "s.npz"), json.loads(done.stdout)
    assert after.metadata["schema"] == before.metadata["schema"]
    assert after.preprocessing.mean.tobytes() == before.preprocessing.mean.tobytes()
    assert facts["score"] == "R^2"
    scores = [row["score"] for row in facts["models"]]
    assert scores[2] > scores[0] - 0.05
    assert ("threshold" in after.metadata) == (target == "autoencoder")
    judged = run_command("score", tmp_path / "s.npz", "--data", folder / "t.csv")
    assert judged.exit_code == 0, judged.stderr


def test_rows_without_labels_teach_what_the_float_model_answers(folder, tmp_path):
    """No score; how many decisions changed is still said."""
    np.savez(tmp_path / "x.npz", x=load_dataset("digits").x[:400])
    done = run_command(
        "train", "--from", folder / "d.npz", "--data", tmp_path / "x.npz", "--quantization-aware", "int4",
        "--epochs", "3", "--out", tmp_path / "s.npz", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["score"] is None
    assert facts["models"][2]["decisions_changed"] is not None
    assert facts["warnings"][0] == "x has no labels: it learns what the float model answers"
    assert not facts["has_labels"]
    assert "agreement 0." in done.stderr
    assert "accuracy" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--from", "d.npz"], "--from is given alone, expected both or none: add --quantization-aware int8"),
        (["--quantization-aware", "int8"], "--quantization-aware is given alone, expected both or none: add --from"),
        (["--from", "d.npz", "--quantization-aware", "int8", "--hidden", "3"], "--hidden is for a training from the"),
        (["--from", "d.npz", "--quantization-aware", "int8", "--checkpoint", "c"], "--checkpoint is for a training"),
        (["--from", "d.npz", "--quantization-aware", "int8", "--out", "s.onnx"], "expected the name of an artifact"),
        (["--from", "d.npz", "--quantization-aware", "int8", "--out", "d.npz"], "is what the command reads"),
        (["--from", "d.npz", "--quantization-aware", "int8", "--learning-rate", "-1"], "learning_rate is -1.0"),
    ],
)
def test_what_does_not_fit_together_is_refused(folder, monkeypatch, options, said):
    """In one line, before any work."""
    monkeypatch.chdir(folder)
    done = run_command("train", *options)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_small_model_is_no_start(folder, tmp_path):
    """It has no float weights any more."""
    small = tmp_path / "s.npz"
    assert tuned(folder, "--quantization-aware", "int8", "--out", small).exit_code == 0
    done = run_command("train", "--from", small, "--quantization-aware", "int8", "--out", tmp_path / "t.npz")
    assert (done.exit_code, "is int8 already; start from the float32 model" in done.stderr) == (2, True)


def test_a_model_that_was_tested_on_another_file_is_tested_on_it_again(folder, tmp_path):
    """Or on one that is named: rows of the data itself were trained on."""
    digits = load_dataset("digits")
    for name, part in (("train", slice(0, 1500)), ("test", slice(1500, None))):
        np.savez(tmp_path / f"{name}.npz", x=digits.x[part], y=digits.y[part])
    data = ["--data", tmp_path / "train.npz"]
    test = ["--test", tmp_path / "test.npz"]
    assert (
        run_command("train", *data, *test, "--hidden", "8", "--epochs", "3", "--out", tmp_path / "m.npz").exit_code == 0
    )
    command = ["train", "--from", tmp_path / "m.npz", *data, "--quantization-aware", "int8", "--epochs", "1"]
    refused = run_command(*command, "--out", tmp_path / "s.npz")
    assert (refused.exit_code, "name it again with --test" in refused.stderr) == (2, True)
    done = run_command(*command, *test, "--out", tmp_path / "s.npz", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["rows_test"] == 297


def test_where_labels_give_nothing_the_float_answers_are_tried_and_what_gives_nothing_is_said(folder, tmp_path):
    """With steps that are far too small: the shrunk model is written, with a warning."""
    done = tuned(folder, "--quantization-aware", "int4", "--learning-rate", "1e-12", "--out", tmp_path / "s.npz")
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "no epoch was better by the labels: it learns what the float model answers" in said
    assert "warning: no epoch was better than the model before" in said
    assert "no epoch was better: it is the shrunk model" in done.stdout
    assert NOTE not in load(tmp_path / "s.npz").metadata


@pytest.mark.parametrize("outputs", [1, 3])
def test_classes_teach_a_network_of_logits(tmp_path, outputs):
    """From an ONNX file without softmax or sigmoid, as PyTorch writes it: more right answers than the shrunk model."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(900, 6)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(int) if outputs == 1 else np.argmax(x[:, :3] + x[:, 3:] ** 2, axis=1)
    network = small_network(("relu", "softmax" if outputs > 1 else "sigmoid"), (6, 16, outputs))
    network.fit(x, y, epochs=30)
    model = network.to_model()
    logits = replace(model, layers=(*model.layers[:-1], replace(model.layers[-1], activation="linear")), class_names=())
    write_onnx(replace(logits, metadata={}), tmp_path / "torch.onnx")
    np.savez(tmp_path / "d.npz", x=x, y=y)
    done = run_command(
        "train", "--from", tmp_path / "torch.onnx", "--data", tmp_path / "d.npz", "--quantization-aware", "int4",
        "--epochs", "6", "--out", tmp_path / "s.npz", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["score"] == "accuracy"
    assert facts["models"][2]["sqnr_db"] > 2  # trained towards 0 and 1 they would be others, below 0 dB
    assert load(tmp_path / "s.npz").final_activation.name == "linear"


def test_what_scores_lower_is_not_written_and_what_tests_lower_is_said(folder, tmp_path, monkeypatch):
    """The shrunk model stays where the validation rows say so; where the test rows alone say it, a warning does."""
    rng = np.random.default_rng(1)

    def spoiled(found, *more, **settings):
        layer = found.layers[0]
        noise = rng.integers(-90, 90, layer.weight.shape)
        weight = np.clip(layer.weight + noise, -127, 127).astype(np.int8)
        return replace(found, layers=(replace(layer, weight=weight), *found.layers[1:]))

    original = fine_tuning.tune

    def tune(source, quantized, *more, **settings):
        tuned = original(source, quantized, *more, **settings)
        return tuned._replace(model=spoiled(quantized))

    monkeypatch.setattr(fine_tuning, "tune", tune)
    done = tuned(folder, "--quantization-aware", "int8", "--out", tmp_path / "s.npz", "--json")
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert any("accuracy fell from" in text and "the model before stays as it is" in text for text in facts["warnings"])
    assert facts["models"][2]["score"] == facts["models"][1]["score"]
    monkeypatch.setattr(fine_tuning, "_no_worse", lambda tuned, shrunk, parts: tuned)
    done = tuned(folder, "--quantization-aware", "int8", "--out", tmp_path / "t.npz")
    assert "before it was" in " ".join(done.stderr.split())


def test_the_table_counts_the_same_in_each_row(folder, tmp_path):
    """Files with as many test vectors: the shrunk one is as large as the fine-tuned; and the bytes of weights."""
    done = tuned(folder, "--quantization-aware", "int4", "--out", tmp_path / "s.npz", "--json")
    before, shrunk, after = json.loads(done.stdout)["models"]
    assert abs(shrunk["artifact_bytes"] - after["artifact_bytes"]) < 300  # what the metadata say of the training
    assert after["artifact_bytes"] == (tmp_path / "s.npz").stat().st_size
    assert shrunk["weight_bytes"] == after["weight_bytes"] < before["weight_bytes"] / 4
    stored = sum(array.nbytes for layer in load(tmp_path / "s.npz").layers for array in layer.arrays().values())
    assert after["weight_bytes"] == stored + 2 * load(tmp_path / "s.npz").preprocessing.mean.nbytes
    done = tuned(folder, "--quantization-aware", "int4", "--out", tmp_path / "t.npz")
    assert "weights B" in done.stdout


@pytest.mark.parametrize("kind", ["LayerNorm", "int8-dynamic"])
def test_what_cannot_be_trained_is_refused_before_any_work(folder, tmp_path, monkeypatch, kind):
    """By the layer's name, before data are read."""
    model = load(folder / "d.npz")
    if kind == "LayerNorm":
        start, said = replace(model, layers=(random_layer_norm(64), *model.layers)), "layer 'norm' is a LayerNorm"
    else:
        start, said = quantize(model, None, "int8-dynamic"), "layer 'dense0' is int8-dynamic already; start from"
    save(start, tmp_path / "m.npz")
    monkeypatch.setattr(fine_tuning, "parts_for_tuning", None)
    done = run_command(
        "train", "--from", tmp_path / "m.npz", "--quantization-aware", "int8", "--out", tmp_path / "s.npz"
    )
    assert done.exit_code == 2
    assert said in done.stderr


def test_moves_that_do_not_fit_are_refused_before_calibration(folder, tmp_path, monkeypatch):
    """Of images that the rows do not hold."""
    monkeypatch.setattr(fine_tuning, "quantize_beside", None)
    done = tuned(
        folder, "--quantization-aware", "int8", "--augment", "shift=1,height=8,width=9", "--out", tmp_path / "s.npz"
    )
    assert (done.exit_code, "images of 8 x 9 have 72 pixels" in done.stderr) == (2, True)


def test_an_onnx_file_may_be_the_start(folder, tmp_path):
    """Read and compared as `export` reads it."""
    assert run_command("export", folder / "d.npz", "--precision", "float32", "--out", tmp_path).exit_code == 0
    done = tuned(tmp_path, "--quantization-aware", "int8", "--out", tmp_path / "s.npz", start="d.float32.onnx")
    assert done.exit_code == 0, done.stderr
    assert load(tmp_path / "s.npz").precision == "int8"


def test_classes_without_a_training_row_are_said(folder, tmp_path):
    """Half of the classes may be forgotten by rows of the others; the model is written, and the warning in its JSON."""
    digits = load_dataset("digits")
    few = digits.y < 4
    np.savez(tmp_path / "few.npz", x=digits.x[few], y=digits.y[few])
    settings = ("--from", folder / "d.npz", "--quantization-aware", "int8", "--epochs", "1", "--json")
    done = run_command("train", *settings, "--data", tmp_path / "few.npz", "--out", tmp_path / "s.npz")
    assert done.exit_code == 0, done.stderr
    assert any("4 of the model's 10 classes have training rows" in text for text in json.loads(done.stdout)["warnings"])


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A classifier of a table, and the rows that it was trained on."""
    folder = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(0)
    x, numbers = rng.normal(size=(300, 3)).round(4), rng.integers(0, 3, 300)
    x[np.arange(300), numbers] += 3
    names = ["abc"[number] for number in numbers]
    write_table(folder / "t.csv", "u;v;w;kind", x, names)
    done = run_command("train", "--data", folder / "t.csv", "--hidden", "6", "--epochs", "5", "--out", folder / "m.npz")
    assert done.exit_code == 0, done.stderr
    return folder, x, names


def write_table(path, header, x, names=None):
    cells = [list(map(str, row)) for row in x]
    if names is not None:
        cells = [[*row, name] for row, name in zip(cells, names, strict=True)]
    path.write_text("\n".join([header, *(";".join(row) for row in cells)]) + "\n")
    return path


def tuned_on(folder, data, *more):
    settings = ("--quantization-aware", "int8", "--epochs", "2", "--force")
    return run_command(
        "train", "--from", folder / "m.npz", "--data", data, *settings, "--out", data.parent / "s.npz", *more
    )


def test_labels_that_the_model_does_not_know_are_refused(kinds, tmp_path):
    """A class spelled anew in a few rows: the column, the class, how many rows, what is known, what to do; no file."""
    folder, x, names = kinds
    strange = ["zz" if row % 50 == 7 else name for row, name in enumerate(names)]
    done = tuned_on(folder, write_table(tmp_path / "d.csv", "u;v;w;kind", x, strange))
    assert done.exit_code == 2
    for said in (
        "label 'zz' is none of the classes that the model knows ('a', 'b', 'c'); 6 of 300 rows",
        "in 'kind': rename them, or leave the label out: rows without labels teach what the float model answers",
    ):
        assert said in done.stderr
    assert not (tmp_path / "s.npz").exists()


def test_a_label_under_another_name_is_refused(kinds, tmp_path):
    """A column of the model's classes that is not called as the label is; named so by --test too."""
    folder, x, names = kinds
    renamed = write_table(tmp_path / "d.csv", "u;v;w;sort", x, names)
    for data, more in ((renamed, ()), (folder / "t.csv", ("--test", renamed, "--out", tmp_path / "s.npz"))):
        done = tuned_on(folder, data, *more)
        assert done.exit_code == 2
        assert (
            "column 'sort' holds the model's classes in 300 of 300 rows, expected them in 'kind'; rename it"
            in done.stderr
        )


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.arange(1797) % 7 + 0.5, "label 0.5 is not a whole number"),
        (np.full(1797, 12), "label '12' is none of the classes that the model knows"),
    ],
)
def test_arrays_of_strange_labels_are_refused(folder, tmp_path, y, said):
    """As score refuses them."""
    model = replace(load(folder / "d.npz"), class_names=tuple("0123456789"), metadata={"target": "class", "seed": "3"})
    save(model, tmp_path / "m.npz")
    np.savez(tmp_path / "d.npz", x=load_dataset("digits").x, y=y)
    done = tuned_on(tmp_path, tmp_path / "d.npz")
    assert (done.exit_code, said in done.stderr) == (2, True)
    judged = run_command("score", tmp_path / "m.npz", "--data", tmp_path / "d.npz")
    assert (judged.exit_code, said in judged.stderr) == (2, True)


def test_a_number_of_targets_that_is_not_the_models_is_refused(tmp_path):
    """Of a model from elsewhere, which names none; whole numbers are targets where it has one output."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    network = small_network(("relu", "linear"), (4, 8, 1))
    network.fit(x, x[:, 0].round() + 5, epochs=5)
    save(replace(network.to_model(), metadata={}), tmp_path / "m.npz")
    np.savez(tmp_path / "two.npz", x=x, y=x[:, :2])
    done = tuned_on(tmp_path, tmp_path / "two.npz")
    assert done.exit_code == 2
    assert "the labels in 'y' are 2 targets a row, the model has 1 outputs; give labels that are its own" in done.stderr
    np.savez(tmp_path / "whole.npz", x=x, y=(x[:, 0].round() + 5).astype(int))
    done = tuned_on(tmp_path, tmp_path / "whole.npz", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["score"] == "R^2"


def test_rows_that_training_held_out_are_not_claimed_without_labels(kinds, tmp_path):
    """The split of classes needs them; with labels they are found again, and those of another file are its own."""
    folder, x, _ = kinds
    bare = write_table(tmp_path / "d.csv", "u;v;w;place", x, ["here"] * 300)
    done = tuned_on(folder, bare)
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "on 60 rows that fine-tuning never saw; without labels the rows that the float model's training held" in said
    assert "out cannot be found again: it may know them" in said
    warned = " ".join(tuned_on(folder, bare, "-q").stderr.split())  # also where notes are not wanted
    assert (
        "warning: d has no column 'kind': it learns what the float model answers; left out columns that the" in warned
    )
    assert "model does not know: 'place'" in warned
    for data, more in ((folder / "t.csv", ("--out", tmp_path / "s.npz")), (bare, ("--test", folder / "t.csv"))):
        done = tuned_on(folder, data, *more)
        assert done.exit_code == 0, done.stderr
        assert "rows it never saw" in done.stdout
        assert "cannot be found again" not in done.stdout


def test_a_model_from_elsewhere_does_not_say_what_it_was_trained_on(kinds, tmp_path):
    """An artifact without the seed of its split."""
    folder, *_ = kinds
    model = load(folder / "m.npz")
    kept = {key: text for key, text in model.metadata.items() if key != "seed"}
    save(replace(model, metadata=kept), tmp_path / "m.npz")
    (tmp_path / "t.csv").write_text((folder / "t.csv").read_text())
    done = tuned_on(tmp_path, tmp_path / "t.csv")
    assert done.exit_code == 0, done.stderr
    assert "the float model does not say which rows its training held out" in " ".join(done.stdout.split())


def test_the_table_has_the_size_of_the_file_that_it_starts_from(folder, tmp_path):
    """As `ls` shows it, in the table and in JSON."""
    size = (folder / "d.npz").stat().st_size
    done = tuned(folder, "--quantization-aware", "int8", "--out", tmp_path / "s.npz", "--json")
    assert json.loads(done.stdout)["models"][0]["artifact_bytes"] == size
    done = tuned(folder, "--quantization-aware", "int8", "--out", tmp_path / "t.npz")
    assert f"{size:,}" in done.stdout


def test_a_warning_speaks_of_the_rate_as_people_do(folder, tmp_path):
    """The option is no name of Python; nor is agreement with the float model called accuracy."""
    done = tuned(folder, "--quantization-aware", "int4", "--learning-rate", "1e-12", "--out", tmp_path / "s.npz")
    said = " ".join(done.stderr.split())
    assert "learning_rate" not in said
    assert "agreement with the float model 0." in said
