import numpy as np
import pytest

from edge_runtime import Engine
from edge_runtime.errors import NativeUnavailable
from edge_runtime.native import bundled, kernels, library, travelling_library, use_library
from edge_runtime.native.cache import VARIABLE
from tests.compilers import needs_compiler
from tests.networks import random_model, random_rows

pytestmark = needs_compiler


@pytest.fixture
def travelled(tmp_path, monkeypatch):
    """A library and its needs, on a machine without a compiler and with an empty cache."""
    content, needs = travelling_library()
    monkeypatch.setattr(library, "_PREFERRED", [])
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept"))
    monkeypatch.setenv("CC", "no-such-compiler")
    return content, needs


def test_it_runs_without_a_compiler(travelled):
    """It is put into the cache and loaded from there; a second time it is found."""
    rows, model = random_rows(3, 6), random_model([6, 5, 2], ["relu", "softmax"])
    for _ in range(2):
        use_library(*travelled)
        assert np.isfinite(Engine(model, backend="native").run(rows)).all()
        assert kernels().features == tuple(travelled[1]["features"])
    assert len(list(kernels().path.parent.iterdir())) == 1


def test_a_damaged_one_is_refused(travelled):
    """Told by its SHA-256, before anything is written."""
    content, needs = travelled
    with pytest.raises(NativeUnavailable, match="damaged"):
        use_library(content[:-1] + b"x", needs)
    assert not library._PREFERRED


@pytest.mark.parametrize("change", [{"machine": "mips"}, {"system": "darwin"}])
def test_one_for_other_machines_is_refused(travelled, change):
    """With the names of both."""
    with pytest.raises(NativeUnavailable, match=f"are for .*{next(iter(change.values()))}.*this is"):
        use_library(travelled[0], {**travelled[1], **change})


def test_one_with_instructions_that_are_not_here_is_refused(travelled, monkeypatch):
    """By NumPy's names of them."""
    monkeypatch.setattr(bundled, "cpu_features", frozenset)
    with pytest.raises(NativeUnavailable, match="need AVX999, which this processor has not"):
        use_library(travelled[0], {**travelled[1], "features": ["AVX999"]})
