"""Writing a file so that a reader sees the old content or the new one, never a torn one."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file to write into; on a clean exit its content takes the place of `path` in one step.

    The bytes go to a temporary file in the same folder, which is flushed, synced and renamed. On any error the
    temporary file is removed and `path` stays as it was. Temporary files that a killed process left for `path` are
    removed first. Raises OSError.
    """
    target = Path(os.path.realpath(path))  # a link's target is replaced, not the link
    _remove_leftovers(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:  # KeyboardInterrupt too: nothing may be left behind
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the content of `path` in one step. Raises OSError."""
    with replacing(path) as file:
        file.write(content)


def require_folder(path: str | os.PathLike[str]) -> None:
    """Fail before long work where the folder of an output file does not exist. Raises FileNotFoundError, naming it."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder, make it first", os.fspath(folder))


def _remove_leftovers(target: Path) -> None:
    prefix, suffix = f".{target.name}.", ".tmp"
    with contextlib.suppress(OSError):
        for name in os.listdir(target.parent):
            pid = name[len(prefix) : -len(suffix)]
            if name.startswith(prefix) and name.endswith(suffix) and pid.isdigit() and not _is_running(int(pid)):
                (target.parent / name).unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    if os.name != "posix":
        return True  # signal 0 is a POSIX question; elsewhere nothing is removed
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
