"""Rows of the test that stand among the training rows too: a score on them says little about new rows."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np

from edge_runtime.array_types import Array
from trainer.data.splitting import Split


def shared_rows(parts: Split) -> int:
    """How many rows of the test are in the training or validation rows too, with the same features and label."""
    trained = [(part.x, part.y) for part in (parts.train, parts.validation)]
    known = {row for x, y in trained for row in _rows(x, y, parts.test.y.dtype)}
    return sum(row in known for row in _rows(parts.test.x, parts.test.y, parts.test.y.dtype))


def shared_doubts(parts: Split, shared: int) -> list[str]:
    """What must not be missed: a file of its own for the test, whose rows were learned from."""
    if shared == 0:
        return []
    return [
        f"{shared:,} of {len(parts.test):,} rows of --test are in --data too: the score on them says nothing about new "
        "rows; test on rows of another file, or leave --test out"
    ]


def shared_note(parts: Split, shared: int) -> str:
    """The same of rows that were held out, because the file holds them more than once."""
    return f"{shared:,} of {len(parts.test):,} held-out rows stand among the training rows too (the file repeats them)"


def _rows(x: Array, y: Array, dtype: np.dtype[np.generic]) -> Iterator[bytes]:
    """A digest of each row, label included, because the rows themselves would take their memory once more."""
    labels = y.astype(dtype, copy=False).reshape(len(y), -1)
    for row, label in zip(x, labels, strict=True):
        plain = row + np.float32(0)  # -0.0 is 0.0
        yield blake2b(plain.tobytes() + label.tobytes(), digest_size=16).digest()
