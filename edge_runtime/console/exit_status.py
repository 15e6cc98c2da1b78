"""What a command says, in one line, of a failure that was expected, and the exit status that it ends with."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence

from edge_runtime.console.entry import INTERRUPTED
from edge_runtime.errors import Alternative, BudgetExceeded, SmallnetError
from edge_runtime.files import escaped

EXPECTED = (SmallnetError, MemoryError, OSError, KeyboardInterrupt)
_LONGEST_LINE = 2000  # names in files may be of any length
_DISK_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO}


def explain(error: BaseException, *, is_bundle: bool = False, more: Sequence[Alternative] = ()) -> tuple[str, int]:
    """(text, status) of an error that is one of `EXPECTED`; no text where nobody is left to read it.

    is_bundle: whether what helps must be said in the options of a bundle, which cannot map its weights.
    more: what else would make a model fit its budget, as it is typed.

    1: a budget does not hold, or memory or disk are full. 2: bad input. 130: Ctrl-C.
    """
    if isinstance(error, KeyboardInterrupt):
        return "stopped by Ctrl-C", INTERRUPTED
    if isinstance(error, BudgetExceeded):
        return error.said(lambda change: _options(change, is_bundle), more), 1
    if isinstance(error, SmallnetError):
        return _as_typed(str(error)), 2
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}); use smaller layers or fewer rows", 1
    if isinstance(error, BrokenPipeError):
        return "", 1
    if isinstance(error, OSError):
        return _os_text(error), 1 if error.errno in _DISK_FULL else 2
    raise error


def _options(change: str, is_bundle: bool) -> str | None:
    """The options that make a change of an engine's limits."""
    parts = change.split(", ")
    if is_bundle and "mmap" in parts:
        return None
    return " ".join(f"--{part.replace('max_batch=', 'max-batch ')}" for part in parts)


def _as_typed(text: str) -> str:
    """Limits of Python, "raise max_bytes", "the limit max_batch", as the option that is typed: "raise --max-bytes"."""
    return re.sub(r"\b(raise|the limit) (max_\w+)", lambda found: f"{found[1]} --{found[2].replace('_', '-')}", text)


def one_line(text: str) -> str:
    """`text` on one line of bounded length, without what would steer a terminal."""
    return escaped(" ".join(text.split()))[:_LONGEST_LINE]


def _os_text(error: OSError) -> str:
    reason = error.strerror or str(error)
    # errors of files name them, see edge_runtime.files.atomic
    old = ", the old file is as it was" if error.filename and os.path.exists(error.filename) else ""
    advice = {
        errno.ENOENT: "" if "folder" in reason else "; check the name",
        errno.EISDIR: "; expected a file",
        errno.EACCES: "; check the permissions",
        errno.ENOSPC: "; free some space" + old,
        errno.EFBIG: "; raise the limit on file sizes" + old,
    }
    # os.getcwd() names no file where the folder is gone; nothing else that is printed or opened fails so
    unnamed = "the present folder" if error.errno == errno.ENOENT else "standard output"
    return f"{error.filename or unnamed}: {reason}{advice.get(error.errno or 0, '')}"
