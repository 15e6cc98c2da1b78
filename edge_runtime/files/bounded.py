"""Reading untrusted bytes without ever holding more of them than the caller allows."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from collections.abc import Callable
from typing import Protocol, TypeAlias

from edge_runtime.arguments import INPUT_CHECKS
from edge_runtime.errors import InputError, SmallnetError

PathLike: TypeAlias = "str | os.PathLike[str]"
DATA_MAX_BYTES = 1 << 30  # 1 GiB: Fashion-MNIST as float32 needs a fifth of it
_CHUNK = 1 << 20
_COME = 1 << 17  # bytes that are taken at once of those that have come


class Readable(Protocol):
    """Anything with a `read(size)` that returns bytes."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, none at the end."""
        ...


def read_at_most(stream: Readable, limit: int) -> bytearray:
    """The bytes of `stream`, but never more than `limit` + 1 of them: one more tells the caller that there are more.

    Memory grows with what really arrives, so a stream that only claims to be large costs nothing.
    """
    content = bytearray()
    while len(content) <= limit:
        chunk = stream.read(min(_CHUNK, limit + 1 - len(content)))
        if not chunk:
            break
        content += chunk
    return content


def read_file(path: str | os.PathLike[str], *, max_bytes: int = DATA_MAX_BYTES) -> bytearray:
    """All bytes of a file, or of standard input for `-`.

    Raises InputError over `max_bytes` and for a pipe, socket or device; OSError if unreadable.
    """
    INPUT_CHECKS.path("path", path)
    if os.fspath(path) == "-":
        content = _read_standard_input(max_bytes)
    else:
        refuse_no_file(path, InputError)
        with open(path, "rb") as file:
            content = read_at_most(file, max_bytes)
    if len(content) > max_bytes:
        raise InputError(f"{describe(path)}: over the limit of {max_bytes:,} bytes; raise max_bytes to read it")
    return content


def refuse_no_file(path: str | os.PathLike[str], error: type[SmallnetError]) -> None:
    """Raise `error` for a name that no file can have, and for a pipe, socket or device. Folders are left to open().

    open() would wait for a pipe's writer, read a device without end, and answer a NUL with a bare ValueError.
    """
    refuse_no_name(path, error)
    try:
        mode = os.stat(path).st_mode
    except OSError:  # open() says it better
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise error(f"{describe(path)}: a pipe, socket or device, expected a regular file")


def refuse_no_name(path: str | os.PathLike[str], error: type[SmallnetError]) -> None:
    """Raise `error` for a name that no file can have, InputError for what is no path."""
    INPUT_CHECKS.path("path", path)
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise error(f"{describe(path)}: a file's name cannot hold half of a pair of surrogates") from None
    if "\0" in os.fspath(path):
        raise error(f"{describe(path)}: a file's name cannot hold a NUL character")


def _read_standard_input(max_bytes: int) -> bytearray:
    return read_at_most(Chunks(b"", standard_input()), max_bytes)


def standard_input() -> Callable[[], bytes]:
    """A function that gives what has come on standard input, waiting for a byte at least; no bytes at the end.

    It raises OSError, naming standard input, and at once if there is none.
    """
    if sys.stdin is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), describe("-"))
    stream = sys.stdin.buffer

    def read() -> bytes:
        try:
            return stream.read1(_COME) if isinstance(stream, (io.BufferedReader, io.BytesIO)) else stream.read(_COME)
        except OSError as error:  # which says nothing of where it happened
            raise type(error)(error.errno, error.strerror, describe("-")) from error

    return read


class Chunks:
    """What a function gives, piece by piece, after a first piece that was read already."""

    def __init__(self, first: bytes, read: Callable[[], bytes]) -> None:
        self._first, self._read = first, read

    def next(self) -> bytes:
        """The next piece, empty at the end."""
        first, self._first = self._first, b""
        return first or self._read()

    def read(self, size: int, /) -> bytes:
        """The next piece, at most `size` bytes of it."""
        piece = self.next()
        self._first = piece[size:]
        return piece[:size]


def describe(path: str | os.PathLike[str]) -> str:
    """How messages name a file: its path, on one line."""
    return "standard input" if os.fspath(path) == "-" else printable(os.fspath(path))


def is_number(text: str) -> bool:
    """Whether a text reads as a number, NaN and inf among them."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000 as a thousand; nobody else does


def printable(value: object, length: int = 1000) -> str:
    """Text from outside, cut to `length` and made safe to print in one line: control characters become escapes."""
    text = str(value)
    return escaped(text if len(text) <= length else text[:length] + "...")


def escaped(text: str, kept: str = "", escape: Callable[[str], str] = ascii) -> str:
    """`text` without what would steer a terminal or cannot be printed: such characters, but for `kept`, become escapes.

    escape: a character to its escape, in quotes.
    """
    return "".join(char if char.isprintable() or char in kept else escape(char)[1:-1] for char in text)


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` letters (5 or more): of a longer one the beginning and the end, with ".." between."""
    if len(text) <= width:
        return text
    end = (width - 2) // 2
    return f"{text[: width - 2 - end]}..{text[len(text) - end :]}"
