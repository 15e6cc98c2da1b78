"""The check of an imported model takes memory in a stated bound, however wide its file is."""

from __future__ import annotations

import tracemalloc

import numpy as np
import onnx
import pytest

from edge_runtime.errors import ArtifactError
from export.export_rows import rows_for_export
from export.import_check import random_rows, verify_import
from export.onnx_reader import import_onnx
from export.row_count import RANDOM_ROWS
from tests.export.foreign import graph


def wide(path, n_in: int, rows: str = "N"):
    """A file of one product with n_in weights, and what was read of it."""
    proto = graph(
        "y = MatMul(x, V)",
        source=f"float[{rows},{n_in}] x",
        target=f"float[{rows},1] y",
        V=np.ones((n_in, 1), np.float32),
    )
    onnx.save(proto, path)
    return import_onnx(path)


@pytest.mark.parametrize(("n_in", "rows"), [(6, RANDOM_ROWS), (16_000, RANDOM_ROWS), (100_000, 41), (1_000_000, 4)])
def test_random_rows_are_fewer_the_wider_they_are(tmp_path, n_in, rows):
    """All of the check stays within 256 MiB, the weights aside; at most 256. An export without data draws as many."""
    source = wide(tmp_path / "m.onnx", n_in)
    assert random_rows(source).shape == (rows, n_in)
    assert rows_for_export(source.model, None).compared.shape == (rows, n_in)


def test_a_check_takes_as_much_memory_as_is_stated(tmp_path):
    """Random rows of 200,000 features: 256 MiB, beside the weights."""
    source = wide(tmp_path / "m.onnx", 200_000)
    tracemalloc.start()
    report = verify_import(source.model, tmp_path / "m.onnx", imported=source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.ok
    assert peak < (1 << 28) + 8 * 4 * 200_000


def test_a_file_that_takes_too_many_rows_at_once_is_refused(tmp_path):
    """Its rows have to be filled up to its number, which no limit of ours can change."""
    source = wide(tmp_path / "m.onnx", 1_000_000, "40")
    with pytest.raises(ArtifactError, match=r"takes 40 rows at once, which takes 2,560,002,560 bytes .* free number"):
        verify_import(source.model, tmp_path / "m.onnx", imported=source)
