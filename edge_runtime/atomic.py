"""Writing a file so that a reader sees the old content or the new one, never a torn one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_PREFIX, _SUFFIX = ".smallnet-", ".tmp"


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file to write into; on a clean exit its content takes the place of `path` in one step.

    The bytes go to a temporary file in the same folder, which is flushed, synced and renamed. On any error the
    temporary file is removed and `path` stays as it was. Temporary files that a killed process left for `path` are
    removed first. Raises OSError.
    """
    target = Path(os.path.realpath(path))  # a link's target is replaced, not the link
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "is no regular file and is not replaced", os.fspath(path))
    _remove_leftovers(target.parent)
    temporary = target.with_name(f"{_PREFIX}{os.getpid()}-{secrets.token_hex(8)}{_SUFFIX}")
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    try:
        # exclusive, so that nobody's link or file of this name is written through
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if error.filename in (None, os.fspath(temporary)):  # the user named the target, not our temporary file
            raise type(error)(error.errno, error.strerror, os.fspath(path)) from error
        raise
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


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that `replacing` writes, or that a killed process left."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            pid = name[len(_PREFIX) :].partition("-")[0]
            if is_temporary(name) and pid.isdigit() and not _is_running(int(pid)):
                (folder / name).unlink(missing_ok=True)


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
