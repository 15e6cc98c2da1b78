"""Which version is installed, and which versions made a file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx

import edge_runtime as er
import export
import trainer
from edge_runtime.version import made_with
from tests.command import run_command
from tests.networks import random_model, random_rows
from trainer import NeuralNetwork

ROOT = Path(__file__).parent.parent.parent


def test_there_is_one_version() -> None:
    """Of the three packages, of `smallnet --version` and of the wheel, which takes it from the same file."""
    assert er.__version__ == export.__version__ == trainer.__version__
    assert run_command("--version").stdout.split()[-1] == er.__version__
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^dynamic = \["version"\]', project, re.MULTILINE)
    assert '[tool.hatch.version]\npath = "edge_runtime/version.py"' in project


def test_files_say_what_made_them(tmp_path: Path) -> None:
    """A trained network, what was quantized, an ONNX file and what was imported from it; `inspect` shows it."""
    network = NeuralNetwork([3, 2], ["softmax"], epochs=1)
    network.fit(random_rows(20, 3), np.arange(20) % 2)
    for name in ("a", "b"):
        network.save_weights(tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    small = export.quantize(er.load(tmp_path / "a.npz"), random_rows(20, 3))
    er.save(small, tmp_path / "small.npz")
    export.write_onnx(small, tmp_path / "small.onnx")
    proto = onnx.load(tmp_path / "small.onnx")
    assert (proto.producer_name, proto.producer_version) == ("smallnet", er.__version__)
    assert "made_with" not in {entry.key for entry in proto.metadata_props}  # its bytes hang on the model alone
    assert run_command("import", tmp_path / "small.onnx", "--out", tmp_path / "again.npz").exit_code == 0
    for name in ("a", "small", "again"):
        assert er.load(tmp_path / f"{name}.npz").metadata["made_with"] == made_with()["made_with"]
        assert f"made_with: {made_with()['made_with']}" in run_command("inspect", tmp_path / f"{name}.npz").stdout


def test_who_makes_a_model_may_say_otherwise() -> None:
    """Metadata that are given win; a model that says nothing is left alone."""
    network = NeuralNetwork([3, 2], ["softmax"])
    assert network.to_model(metadata={"made_with": "by hand"}).metadata["made_with"] == "by hand"
    assert random_model([3, 2], ["linear"]).metadata == {}
