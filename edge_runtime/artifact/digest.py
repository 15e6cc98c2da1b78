"""SHA-256 at the price of the file: OpenSSL for large ones, Python's own code for small ones.

`hashlib` loads OpenSSL: 2 ms and 3.6 MB, which a small artifact does not repay; Python's built-in implementation, which
hashlib itself falls back to, takes 3 us a kilobyte. The digests are the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

LARGE_BYTES = 1 << 20  # from here OpenSSL's speed is worth its import


def sha256_for(nbytes: int) -> Callable[..., Any]:
    """The constructor of a SHA-256 object, as `hashlib.sha256`, for about `nbytes` of data."""
    if nbytes < LARGE_BYTES and "hashlib" not in sys.modules:
        for module in ("_sha2", "_sha256"):  # since Python 3.12, and before
            try:
                return __import__(module).sha256
            except ImportError:  # a Python that was built without it
                continue
    import hashlib

    return hashlib.sha256
