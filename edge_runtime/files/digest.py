"""SHA-256, without loading OpenSSL for few bytes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

WORTH_OPENSSL = 1 << 20  # bytes: hashlib loads it, 2 ms and 3.6 MB; without it a kilobyte takes 3 us


def sha256_for(nbytes: int) -> Callable[..., Any]:
    """`hashlib.sha256`; for few bytes Python's built-in implementation, which hashlib falls back to itself."""
    if nbytes < WORTH_OPENSSL and "hashlib" not in sys.modules:
        with contextlib.suppress(ImportError):  # a Python that was built without it
            return import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256
    return import_module("hashlib").sha256
