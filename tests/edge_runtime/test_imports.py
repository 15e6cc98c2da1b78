import subprocess
import sys

import pytest

PRINT_MODULES = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `statement`."""
    return set(subprocess.check_output([sys.executable, "-c", f"{statement}; {PRINT_MODULES}"], text=True).split())


def test_edge_runtime_loads_numpy_and_the_standard_library_only():
    """A device that installs the runtime never pulls in training, export, click or anything beyond NumPy."""
    every_name = "import edge_runtime as er; [getattr(er, name) for name in er.__all__]"
    extra = loaded_by(every_name) - loaded_by("import numpy") - {"edge_runtime"}
    assert extra <= set(sys.stdlib_module_names)
    assert "numpy" in loaded_by(every_name)


@pytest.mark.parametrize("package", ["edge_runtime", "export"])
def test_a_package_alone_loads_nothing_heavy(package):
    """Its names come when they are asked for, so that a command line can answer Ctrl-C before NumPy is imported."""
    assert not loaded_by(f"import {package}") & {"numpy", "click", "onnx", "onnxruntime", "trainer"}


def test_the_trainer_never_loads_the_exporter():
    """Imports point down: training needs neither onnx nor onnxruntime nor click."""
    assert not loaded_by("import trainer") & {"export", "onnx", "onnxruntime", "click"}


@pytest.mark.parametrize("module", ["export.cli", "edge_runtime.cli", "trainer.cli"])
def test_a_command_line_answers_without_heavy_imports(module):
    """`--help` does not wait for onnx, onnxruntime or the training engine."""
    assert not loaded_by(f"import {module}") & {"onnx", "onnxruntime"}
