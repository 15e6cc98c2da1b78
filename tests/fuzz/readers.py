"""What is fuzzed: each reader with its documented errors, its valid inputs, its mutations, and what must hold beyond.

A `check` gives True where the bytes were taken for a value and False where they were refused with a documented error;
any other exception, a warning included, is a finding.
"""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime import ArtifactError, Engine, InputError, Model, load
from edge_runtime.artifact.artifact import load_bytes, save_bytes
from edge_runtime.console.inspection import inspect_file
from edge_runtime.console.reports import inspection_text, selftest_text
from edge_runtime.engine.self_test import selftest
from edge_runtime.files.rows import read_rows
from edge_runtime.files.stream import tables_of
from edge_runtime.files.table import Table, read_table
from export.onnx_reader.reader import import_onnx
from export.verification.dumps import verify_dumps
from tests.fuzz import seeds
from tests.fuzz.mutate_bytes import Mutate, damaged_idx, damaged_npy, damaged_text
from tests.fuzz.mutate_container import damaged_artifact, damaged_checkpoint, damaged_npz
from tests.fuzz.mutate_onnx import damaged_onnx
from tests.networks import random_model, random_rows
from trainer import NeuralNetwork, PrecisionConfig
from trainer.datasets import load_dataset, split
from trainer.errors import CheckpointError, TrainingDiverged

MAX_BYTES = 1 << 20  # the limit that the readers are given
TARGETS = ("auto", "class", "regression", "autoencoder")


@dataclass(frozen=True)
class Reader:
    """check: told the bytes and a folder of its own to put them in. seeds: makes valid inputs. mutate: damages one."""

    name: str
    check: Callable[[bytes, Path], bool]
    seeds: Callable[[], list[bytes]]
    mutate: Mutate


def _refused(call: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether `call` raises one of the documented errors, in one line."""
    try:
        call()
    except errors as error:
        if type(error) not in errors:
            raise
        if len(str(error).splitlines()) != 1:
            raise AssertionError(f"an error of more than one line: {str(error)!r}") from error
        return True
    return False


def check_model(model: Model) -> None:
    """A model that was read must run, must come back from its bytes unchanged, and must be shown in plain lines."""
    with np.errstate(all="ignore"):  # weights near float32's limits may overflow; the outputs show it
        engine = Engine(model)
        outputs = [np.zeros(0)]
        for rows in (np.zeros(model.n_in, np.float32), random_rows(3, model.n_in)):
            if not _refused(lambda rows=rows: outputs.append(engine.run(rows)), InputError):
                assert outputs[-1].dtype == np.float32
                assert outputs[-1].shape[-1] == model.n_out
            elif "int8-dynamic" not in {layer.precision for layer in model.layers}:
                raise AssertionError("rows that fit were refused")
    content = save_bytes(model)
    assert save_bytes(load_bytes(content)) == content


def check_artifact(content: bytes, folder: Path) -> bool:
    """`load_bytes`, `load` with and without a memory map, then all that the device's commands do with it."""
    found: list[Model] = []
    if _refused(lambda: found.append(load_bytes(content)), ArtifactError):
        if len(content) % 16 == 0:  # now and then, because writing the file takes longer than refusing it
            path = _written(content, folder / "m.npz")
            assert _refused(lambda: load(path, mmap=True, max_bytes=MAX_BYTES), ArtifactError)
        return False
    model = found[0]
    check_model(model)
    if len(content) % 8:  # what follows takes ten times as long
        return True
    path = _written(content, folder / "m.npz")
    mapped = load(path, mmap=True)
    assert save_bytes(mapped) == save_bytes(model)
    text = inspection_text(inspect_file(path))
    assert all(line.isprintable() for line in text.split("\n")), "control characters in what is printed"
    if model.test_vectors is not None and len(model.test_vectors.inputs):
        with np.errstate(all="ignore"):
            _refused(lambda: selftest_text(selftest(model)), InputError)
    return True


def check_checkpoint(content: bytes, folder: Path) -> bool:
    """Training that continues from the file, to its end."""
    path = _written(content, folder / "run.ckpt")
    options = {"validation_data": seeds.ROWS, "patience": 3} if b'"patience":"3"' in content else {}
    network = NeuralNetwork(*seeds.NETWORK, precision_config=PrecisionConfig(seed=1))

    def resume() -> None:
        with np.errstate(all="ignore"):
            network.fit(*seeds.ROWS, epochs=2, schedule="constant", batch_size=4, resume=path, **options)

    return not _refused(resume, CheckpointError, TrainingDiverged)


def check_onnx(content: bytes, folder: Path) -> bool:
    """`read_onnx`, alone in a folder; a model that comes out must run and be stored."""
    path = _written(content, folder / "m.onnx")
    found: list[Model] = []
    if _refused(lambda: found.append(import_onnx(path, max_bytes=MAX_BYTES).model), ArtifactError):
        return False
    check_model(found[0])
    return True


def _check_data(path: Path, length: int) -> bool:
    """The file as rows for a model and as a data set, with a target that its length chooses."""
    nonfinite = length % 2 == 0
    found: list[np.ndarray] = []

    def read(n_in: int | None) -> None:
        found.append(read_rows(path, n_in=n_in, max_bytes=MAX_BYTES, allow_nonfinite=nonfinite).x)

    taken = not _refused(lambda: read(None), InputError)
    _refused(lambda: read(1 + length % 4), InputError)
    for rows in found:
        _check_rows(rows, nonfinite)
    return (_check_dataset(path, length) if path.suffix != ".npy" else False) or taken


def _check_dataset(path: Path, length: int) -> bool:
    found: list = []
    target = TARGETS[length % 4]
    if _refused(lambda: found.append(load_dataset(path, target=target, max_bytes=MAX_BYTES)), InputError):
        return False
    data = found[0]
    _check_rows(data.x, False)
    assert len(data.y) == len(data.x)
    assert all(name.isprintable() for name in (*data.class_names, *data.feature_names, data.name))
    parts: list = []
    if not _refused(lambda: parts.append(split(data, seed=length)), InputError):
        assert len(parts[0].train) >= 1
    return True


def _check_rows(rows: np.ndarray, nonfinite: bool) -> None:
    assert rows.dtype == np.float32
    assert rows.ndim == 2
    assert min(rows.shape) >= 1
    assert nonfinite or (math.isfinite(rows.min()) and math.isfinite(rows.max()))


def check_csv(content: bytes, folder: Path) -> bool:
    """Text as a table, as a stream in small pieces, as rows and as a data set."""
    taken = not _refused(lambda: _check_table(read_table(content, "x", max_bytes=MAX_BYTES)), InputError)
    size = 1 + len(content) % 13
    pieces = iter([*(content[place : place + size] for place in range(0, len(content), size)), b""])

    def read_stream() -> None:
        for table in tables_of(lambda: next(pieces), "x", columns=1 + len(content) % 3):
            _check_table(table)

    if len(content) < 4096:
        _refused(read_stream, InputError)
    return _check_data(_written(content, folder / "rows.csv"), len(content)) or taken


def _check_table(table: Table) -> None:
    rows, columns = table.numbers.shape
    assert rows >= 1
    assert columns >= 1
    assert len(table.names) in (0, columns)
    assert len(table.line_numbers) == rows
    assert (np.diff(table.line_numbers) > 0).all()
    missing = np.zeros((rows, columns), bool) if table.missing is None else table.missing
    assert np.isnan(table.numbers[missing]).all()
    for column in range(columns):
        is_text = np.isnan(table.numbers[:, column]) & ~missing[:, column]
        assert is_text.any() == (column in table.texts)
        assert len(table.texts.get(column, range(rows))) == rows
    assert all(note.isprintable() for note in table.notes)


_DUMPED = random_model([4, 3], ["relu"])


def check_npy(content: bytes, folder: Path) -> bool:
    """A `.npy` as rows, and as what a device computed for a tensor."""
    taken = _check_data(_written(content, folder / "rows.npy"), len(content))
    _written(content, folder / "logits.npy")
    (folder / "rows.npy").unlink()
    _refused(lambda: verify_dumps(_DUMPED, folder, random_rows(3, 4)), InputError)
    return taken


def check_npz(content: bytes, folder: Path) -> bool:
    """A `.npz` of anybody's as rows and as a data set."""
    return _check_data(_written(content, folder / "rows.npz"), len(content))


def check_idx(content: bytes, folder: Path) -> bool:
    """An IDX file as the images of a folder, or as its labels where it says that it has one axis."""
    start = content
    if content[:2] == b"\x1f\x8b":
        with contextlib.suppress(zlib.error):
            start = zlib.decompressobj(31).decompress(content, 4)
    is_labels = start[2:4] == b"\x08\x01"
    _written(seeds.IMAGES if is_labels else content, folder / "train-images-idx3-ubyte")
    _written(content if is_labels else seeds.LABELS, folder / "train-labels-idx1-ubyte")
    return _check_dataset(folder, len(content) // 2)


def _written(content: bytes, path: Path) -> Path:
    path.write_bytes(content)
    return path


READERS = {
    reader.name: reader
    for reader in (
        Reader("artifact", check_artifact, seeds.artifacts, damaged_artifact),
        Reader("checkpoint", check_checkpoint, seeds.checkpoints, damaged_checkpoint),
        Reader("onnx", check_onnx, seeds.onnx_files, damaged_onnx),
        Reader("csv", check_csv, seeds.csv_files, damaged_text),
        Reader("npy", check_npy, seeds.npy_files, damaged_npy),
        Reader("npz", check_npz, seeds.npz_files, damaged_npz),
        Reader("idx", check_idx, seeds.idx_files, damaged_idx),
    )
}
