"""The command line and files that somebody else made: nothing of them commands the terminal, hangs or spills traces."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, TestVectors, load, save
from export.onnx_writer.writer import write_onnx
from tests.end_to_end.test_command_line import invoke, quick
from tests.networks import random_model, random_rows

HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\n\x9b31m\u202ename"  # clears the screen, names the window, turns text round


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An artifact, its ONNX file and rows, with hostile text wherever a model has text."""
    folder = tmp_path_factory.mktemp("hostile")
    model = random_model([4, 3, 2], ["relu", "softmax"])
    layers = tuple(replace(layer, name=f"{HOSTILE}{index}") for index, layer in enumerate(model.layers))
    model = replace(model, layers=layers, class_names=(HOSTILE, "b"), metadata={HOSTILE: HOSTILE, "seed": HOSTILE})
    rows = random_rows(4, 4)
    model = model.with_test_vectors(TestVectors(rows, Engine(model).logits(rows)))
    save(model, folder / "m.npz")
    write_onnx(model, folder / "m.onnx")
    np.save(folder / "x.npy", rows)
    np.savez(folder / "d.npz", x=np.resize(rows, (40, 4)), y=np.arange(40) % 2)
    (folder / "header.csv").write_text(f'a,"{HOSTILE.splitlines()[0]}",c,d,label\n' + "1,2,3,4,x\n2,3,4,5,y\n" * 20)
    return folder


COMMANDS = {
    "inspect": ["inspect", "m.npz"],
    "inspect as JSON": ["inspect", "m.npz", "--json"],
    "run": ["run", "m.npz", "--input", "x.npy"],
    "run for classes": ["run", "m.npz", "--input", "x.npy", "--classes"],
    "selftest": ["selftest", "m.npz"],
    "verify": ["verify", "m.npz", "m.onnx"],
    "verify as JSON": ["verify", "m.npz", "m.onnx", "--json"],
    "export": ["export", "m.npz", "--calibrate", "d.npz", "--out", "out", "--precision", "all"],
    "import": ["import", "m.onnx", "--out", "i.npz"],
    "import as JSON": ["import", "m.onnx", "--out", "i.npz", "--json"],
    "bench": ["bench", "m.npz", "--seconds", "0.01", "--batch", "1"],
    "train on a hostile header": ["train", "--data", "header.csv", "--epochs", "1", "--out", "t.npz"],
    "a hostile name of a file": ["inspect", f"{HOSTILE}.npz"],
    "a hostile name of data": ["run", "m.npz", "--input", f"{HOSTILE}.csv"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_text_out_of_files_cannot_command_the_terminal(folder, command, monkeypatch):
    """Whatever a command prints, on either stream, is printable characters and plain line ends."""
    monkeypatch.chdir(folder)
    status, out, err = quick(*COMMANDS[command])
    assert status in (0, 1, 2)
    assert out or err
    for text in (out, err):
        assert [line for line in text.split("\n") if not line.isprintable()] == []
    if "--json" in COMMANDS[command]:
        assert any(HOSTILE in text for text in _texts(json.loads(out))), "JSON keeps the text, escaped"


def _texts(value):
    """All texts in a JSON value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def test_overflow_in_a_hostile_model_leaves_no_trace_on_standard_error(tmp_path):
    """Weights near float32's limit overflow: the outputs say so, and NumPy's warnings with source lines do not."""
    model = random_model([4, 3, 2], ["softplus", "softmax"], weight_scale=3e38)
    rows = random_rows(3, 4) * 1e30
    with np.errstate(all="ignore"):
        save(model.with_test_vectors(TestVectors(rows, np.zeros((3, 2), np.float32))), tmp_path / "m.npz")
    np.save(tmp_path / "x.npy", rows)
    status, out, err = invoke("run", tmp_path / "m.npz", "--input", tmp_path / "x.npy")
    assert (status, err) == (0, "")
    assert "nan" in out or "inf" in out
    status, _, err = invoke("selftest", tmp_path / "m.npz")
    assert (status, err) == (1, "")


def test_a_warning_is_one_line(tmp_path):
    """A layer that is 0 on every calibration row is said in a line, without the source line that found it."""
    model = random_model([4, 3, 2], ["relu", "linear"])
    first = replace(model.layers[0], bias=np.full(3, -1e6, np.float32))
    save(replace(model, layers=(first, model.layers[1])), tmp_path / "m.npz")
    np.savez(tmp_path / "d.npz", x=random_rows(60, 4), y=np.arange(60) % 2)
    arguments = ["--calibrate", tmp_path / "d.npz", "--out", tmp_path / "out"]
    status, _, err = invoke("export", tmp_path / "m.npz", *arguments)
    assert status in (0, 1)
    assert "warning: int8: tensor 'dense0.output' is 0 on every calibration row" in err.splitlines()
    assert ".py" not in err


def test_the_limit_on_bytes_can_be_set(folder, monkeypatch):
    """--max-bytes takes K, M and G; a file above it is refused in one line that says how to read it."""
    monkeypatch.chdir(folder)
    size = os.path.getsize("m.npz")
    for command in (["inspect", "m.npz"], ["selftest", "m.npz"], ["run", "m.npz", "--input", "x.npy"],
                    ["bundle", "m.npz"], ["bench", "m.npz"], ["verify", "m.npz", "m.onnx"],
                    ["export", "m.npz", "--calibrate", "d.npz"], ["import", "m.onnx", "--out", "o.npz"],
                    ["train", "--data", "d.npz", "--out", "o.npz"]):  # fmt: skip
        status, out, err = quick(*command, "--max-bytes", "300")
        assert (status, out) == (2, ""), command
        assert "over the limit of 300" in err
        assert "raise --max-bytes" in err
    for text in (str(size), f"{size // 1024 + 1}K", f"{size // 1024 + 1}k", "1M", "2G"):
        assert quick("selftest", "m.npz", "--max-bytes", text)[0] == 0
    for text in ("0", "-1", "1.5M", "M", "1T", "1e6", "9" * 30, "x\x1b[2J"):
        status, _, err = quick("selftest", "m.npz", "--max-bytes", text)
        assert status == 2
        assert "expected bytes such as 1000000, 512K, 64M or 2G" in err
    assert load("m.npz", max_bytes=size).n_in == 4


@pytest.mark.skipif(os.name != "posix", reason="pipes with names are POSIX")
def test_a_pipe_in_any_place_is_refused_at_once(folder, monkeypatch):
    """As model, as rows, as data, as ONNX file, as checkpoint: one line, status 2, and no waiting for a writer."""
    monkeypatch.chdir(folder)
    for suffix in ("npz", "csv", "npy", "onnx", "ckpt"):
        os.mkfifo(f"pipe.{suffix}")
    for command in (["inspect", "pipe.npz"], ["run", "m.npz", "--input", "pipe.csv"],
                    ["run", "m.npz", "--input", "pipe.npy"], ["run", "m.npz", "--input", "pipe.npz"],
                    ["train", "--data", "pipe.csv", "--out", "o.npz"], ["verify", "m.npz", "pipe.onnx"],
                    ["import", "pipe.onnx", "--out", "o.npz"], ["export", "pipe.onnx", "--calibrate", "d.npz"],
                    ["train", "--data", "d.npz", "--resume", "pipe.ckpt", "--out", "o.npz"]):  # fmt: skip
        status, out, err = quick(*command)
        assert (status, out) == (2, ""), command
        assert "regular file" in err
        assert len(err.splitlines()) == 1
