import subprocess
import sys

import pytest

import edge_runtime
from edge_runtime import save
from tests.networks import random_model

PRINT_MODULES = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `statement`."""
    return set(subprocess.check_output([sys.executable, "-c", f"{statement}; {PRINT_MODULES}"], text=True).split())


def test_edge_runtime_loads_numpy_and_the_standard_library_only():
    """A device that installs the runtime never pulls in training, export, click or anything beyond NumPy."""
    everything = loaded_by("from edge_runtime import *")
    assert everything - loaded_by("import numpy") - {"edge_runtime"} <= set(sys.stdlib_module_names)
    assert "numpy" in everything


def test_every_public_name_is_there_and_listed():
    """Names are loaded when they are asked for: each must have a home, and `dir` must show it."""
    for name in edge_runtime.__all__:
        assert getattr(getattr(edge_runtime, name), "__name__", name) == name  # a union of types has no name
    assert set(edge_runtime.__all__) <= set(dir(edge_runtime))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        edge_runtime.nothing  # noqa: B018


@pytest.mark.parametrize("package", ["edge_runtime", "export"])
def test_a_package_alone_loads_nothing_heavy(package):
    """Its names come when they are asked for, so that a command line can answer Ctrl-C before NumPy is imported."""
    assert not loaded_by(f"import {package}") & {"numpy", "click", "onnx", "onnxruntime", "trainer"}


def test_the_trainer_never_loads_the_exporter():
    """Imports point down: training needs neither onnx nor onnxruntime nor click."""
    assert not loaded_by("import trainer") & {"export", "onnx", "onnxruntime", "click"}


@pytest.mark.parametrize("module", ["export.commands.cli", "edge_runtime.console.cli", "trainer.cli"])
def test_a_command_line_answers_without_heavy_imports(module):
    """`--help` does not wait for onnx, onnxruntime or the training engine."""
    assert not loaded_by(f"import {module}") & {"onnx", "onnxruntime"}


def test_the_number_of_threads_is_left_to_whoever_started_the_process(tmp_path):
    """Importing, loading and running set no environment variable: the BLAS keeps the threads it was given."""
    save(random_model([4, 3, 2], ["relu", "softmax"]), tmp_path / "m.npz")
    code = (
        "import os, sys; before = dict(os.environ); import numpy, edge_runtime as er; model = er.load(sys.argv[1]); "
        "er.Engine(model, er.Limits(device='stm32l4r5')).run(numpy.zeros((300, 4))); print(dict(os.environ) == before)"
    )
    answer = subprocess.check_output([sys.executable, "-c", code, str(tmp_path / "m.npz")], text=True)
    assert answer.strip() == "True"
