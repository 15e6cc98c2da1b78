import subprocess
import sys

import numpy as np
import pytest

from edge_runtime import Engine, save
from edge_runtime.bundle import write_bundle
from export.quantizer import quantize
from export.test_vectors import with_test_vectors
from tests.networks import random_model, random_rows


@pytest.fixture
def app(tmp_path):
    """A bundled model in an empty folder, and the model."""
    rows = random_rows(50, 6)
    model = with_test_vectors(quantize(random_model([6, 5, 3], ["relu", "softmax"]), rows), rows)
    save(model, tmp_path / "m.npz")
    write_bundle(tmp_path / "m.npz", tmp_path / "app.pyz")
    return tmp_path / "app.pyz", model


def run(app, *arguments):
    """The application in an isolated interpreter, which sees no other copy of the runtime."""
    site = np.__path__[0].removesuffix("numpy")
    code = f"import sys, runpy; sys.path.append({site!r}); sys.argv = ['app', *{list(arguments)!r}]; "
    command = [sys.executable, "-I", "-S", "-c", code + f"runpy.run_path({str(app)!r}, run_name='__main__')"]
    return subprocess.run(command, capture_output=True, text=True, cwd=app.parent)


def test_it_proves_itself_and_runs_rows(app):
    """One file, Python and NumPy: the self-test passes and the outputs are the engine's, to the last bit."""
    path, model = app
    assert run(path, "--selftest").stdout.startswith("ok: 8 rows")
    rows = random_rows(4, 6, seed=8)
    np.save(path.parent / "x.npy", rows)
    assert run(path, "--input", "x.npy", "--output", "y.npy").returncode == 0
    np.testing.assert_array_equal(np.load(path.parent / "y.npy"), Engine(model).run(rows))


def test_it_is_the_same_when_written_twice(app):
    """Byte for byte."""
    path, _model = app
    write_bundle(path.parent / "m.npz", path.parent / "again.pyz")
    assert path.read_bytes() == (path.parent / "again.pyz").read_bytes()


def test_bad_input_is_one_line(app):
    """A missing file, no arguments and a budget that is too small."""
    path, _model = app
    for arguments in (["--input", "missing.csv"], ["--input", "x.csv", "--ram-bytes", "10"]):
        result = run(path, *arguments)
        assert result.returncode != 0
        assert result.stderr.startswith("error: ")
        assert len(result.stderr.splitlines()) == 1
