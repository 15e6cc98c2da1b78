"""Data sets in a folder of IDX files, the layout of MNIST: a part to train on, and most often one for the test."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files import as_rows, describe, to_float32
from trainer.data.dataset import Dataset
from trainer.data.idx import read_idx_folder
from trainer.data.labels import Target, decide_target, encode_labels, label_doubts
from trainer.data.reading import Reading


def load_idx(folder: Path, target: Target, max_bytes: int, for_training: bool) -> Dataset:
    """The data set in a folder of IDX files. Raises InputError, naming part and row; OSError."""
    what = describe(folder)
    parts = read_idx_folder(folder, max_bytes=max_bytes)
    sizes = [math.prod(images.shape[1:]) for images, _ in parts.values()]
    if len(set(sizes)) > 1:
        raise InputError(f"{what}: train images have {sizes[0]:,} pixels, test images {sizes[1]:,}; expected the same")
    xs = {
        part: to_float32(as_rows(images, f"{what}: {part} images"), f"{what}: {part} images", max_bytes=max_bytes)
        for part, (images, _) in parts.items()
    }
    if target == "autoencoder":
        sets = [Dataset(x, x, (), folder.name, what, reading=Reading(rows=len(x))) for x in xs.values()]
    else:
        labels = np.concatenate([labels for _, labels in parts.values()])  # one list of classes for both parts

        def where(row: int) -> str:
            first = next(iter(xs))
            inside = row < len(xs[first])
            part, row = (first, row) if inside else ("test", row - len(xs[first]))
            return f"{what}: {part} row {row} (counted from 0)"

        y, names = encode_labels(labels, target, None, where, f"{what}: labels", for_training=for_training)
        reason = decide_target(labels, target)[1]
        ends = np.cumsum([len(x) for x in xs.values()])[:-1]
        doubts = tuple(label_doubts(y, names)) if for_training else ()
        sets = [
            Dataset(
                x, part, names, folder.name, what,
                reading=Reading(("labels",), "a file of the folder", reason, rows=len(x), warnings=doubts),
            )
            for x, part in zip(xs.values(), np.split(y, ends), strict=True)
        ]  # fmt: skip
    return replace(sets[0], test=sets[1]) if len(sets) > 1 else sets[0]
