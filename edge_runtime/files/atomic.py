"""Writing a file so that a reader sees the old content or the new one, never a torn one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from edge_runtime.errors import OutputRefused
from edge_runtime.files.bounded import refuse_no_name

_PREFIX, _SUFFIX, _TOKEN_BYTES = ".smallnet-", ".tmp", 12
_LITTER_SECONDS = 24 * 60 * 60.0  # no writer takes as long


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file to write into; on a clean exit its content takes the place of `path` in one step.

    The bytes go to a temporary file in the same folder, which is flushed, synced and renamed. On any error the
    temporary file is removed and `path` stays as it was. Temporary files that killed processes left in the folder are
    removed by the first writer after a day. Raises OSError, OutputRefused for a name that no file can have,
    InputError for what is no path.
    """
    with _Draft(path) as draft, draft.naming_target():
        yield draft.file
        draft.settle()
        draft.take_name()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the content of `path` in one step. Raises OSError."""
    with replacing(path) as file:
        file.write(content)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Replace the contents of several files in the order given: all are on the disk before the first gets its name.

    A disk that fills leaves every file as it was. Between two names a kill may come: then the first files are new and
    the others old. Raises OSError.
    """
    with contextlib.ExitStack() as stack:
        drafts = []
        for path, content in contents.items():
            drafts.append(stack.enter_context(_Draft(path)))
            with drafts[-1].naming_target():
                drafts[-1].file.write(content)
                drafts[-1].settle()
        for draft in drafts:
            with draft.naming_target():
                draft.take_name()


class _Draft:
    """A temporary file beside its target. A context: what got no name goes."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        refuse_no_name(path, OutputRefused)
        self.path, self.target = path, Path(os.path.realpath(path))  # a link's target is replaced, not the link
        if os.path.lexists(self.target) and not self.target.is_file():
            raise OSError(errno.EINVAL, "is no regular file and is not replaced", os.fspath(path))
        self.temporary: Path | None = None

    def __enter__(self) -> _Draft:
        _remove_leftovers(self.target.parent)
        self.kept_mode = self.target.stat().st_mode & 0o777 if self.target.exists() else None
        with self.naming_target():
            # of a new file the system itself takes off what the process's mask forbids
            self.temporary, self.file = _new_file(
                self.target.parent, 0o666 if self.kept_mode is None else self.kept_mode
            )
        return self

    def __exit__(self, *_: object) -> None:
        """On a KeyboardInterrupt too: nothing may be left behind."""
        with contextlib.suppress(OSError):  # of bytes that were to be flushed: the file goes anyway
            self.file.close()
        if self.temporary is not None:
            with contextlib.suppress(OSError):
                self.temporary.unlink()

    def settle(self) -> None:
        """Bring the content to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def take_name(self) -> None:
        """Take the place of the target."""
        assert self.temporary is not None
        if self.kept_mode is not None:
            os.chmod(self.temporary, self.kept_mode)
        os.replace(self.temporary, self.target)
        self.temporary = None
        _sync_folder(self.target.parent)

    @contextlib.contextmanager
    def naming_target(self) -> Iterator[None]:
        """An OSError names what the user named, and not our file."""
        try:
            yield
        except OSError as error:
            if error.filename is None or error.filename == str(self.temporary):
                raise type(error)(error.errno, error.strerror, os.fspath(self.path)) from error
            raise


def require_folder(path: str | os.PathLike[str]) -> None:
    """Fail before long work where the folder of an output file does not exist, or is a file.

    Raises FileNotFoundError or NotADirectoryError, naming it.
    """
    folder = Path(path).parent
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, expected a folder", os.fspath(folder))
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder, make it first", os.fspath(folder))


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder and those above it that are missing, each of them durable in the folder around it."""
    folder = Path(path)
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        _sync_folder(made.parent)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that `replacing` writes, or that a killed process left."""
    middle = name[len(_PREFIX) : -len(_SUFFIX)]
    is_token = len(middle) == 2 * _TOKEN_BYTES and set(middle) <= set("0123456789abcdef")
    return name == f"{_PREFIX}{middle}{_SUFFIX}" and is_token


def _new_file(folder: Path, mode: int) -> tuple[Path, IO[bytes]]:
    path = folder / f"{_PREFIX}{secrets.token_hex(_TOKEN_BYTES)}{_SUFFIX}"
    # exclusive, so that nobody's link or file of this name is written through
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        return path, os.fdopen(os.open(path, flags, mode), "wb")
    except OSError as error:
        raise type(error)(error.errno, error.strerror) from error  # the name is ours, and nobody's concern
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder: temporary files of ours that nobody wrote to for a day."""
    with contextlib.suppress(OSError):
        for name in filter(is_temporary, os.listdir(folder)):
            with contextlib.suppress(OSError):
                found = os.lstat(folder / name)
                if stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime > _LITTER_SECONDS:
                    os.unlink(folder / name)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
