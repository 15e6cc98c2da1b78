"""The bytes of a text file in an encoding whose separators, digits and line ends are single bytes."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from typing import NamedTuple

from edge_runtime.errors import InputError
from edge_runtime.files.bounded import read_at_most

_GZIP_MAGIC = b"\x1f\x8b"
_UTF8_MARK = codecs.BOM_UTF8
_BLOCK = 1 << 20
_UNDEFINED = b"\x81\x8d\x8f\x90\x9d"  # in Windows-1252: read as Latin-1 has them


class Text(NamedTuple):
    """content: lines that end in \\n alone. encoding: "utf-8" or "cp1252". notes: what was noticed."""

    content: bytes | bytearray
    encoding: str
    notes: tuple[str, ...]


def as_text(content: bytes | bytearray, what: str) -> Text:
    """Leave a byte order mark out, and make UTF-16 and all line ends ours.

    Raises InputError for damaged UTF-16, and for a NUL character.
    """
    wide = _utf16(content)
    notes = []
    if wide:
        content = _from_utf16(content, wide, what)
        notes.append("UTF-16 text")
    content = content[len(_UTF8_MARK) :] if content.startswith(_UTF8_MARK) else content
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise InputError(f"{what}: row {line}: holds a NUL character; is this a CSV file?")
    if _is_utf8(content):
        return Text(content, "utf-8", tuple(notes))
    notes.append("not UTF-8, read as Windows-1252")
    if any(byte in content for byte in _UNDEFINED):
        return Text(_from_windows(content), "utf-8", tuple(notes))
    return Text(content, "cp1252", tuple(notes))


def is_text(start: bytes) -> bool:
    """Whether bytes can begin a text in an encoding that needs no conversion: no array, no archive, no UTF-16."""
    return not start.startswith((_GZIP_MAGIC, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\0" not in start[:512]


def unpacked(content: bytes | bytearray, what: str, max_bytes: int) -> bytes | bytearray:
    """What gzip packed, at most `max_bytes`; anything else as it is. Raises InputError for damage, and for more."""
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            found = read_at_most(file, max_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{what}: damaged gzip ({error}); fetch the file again") from error
    if len(found) > max_bytes:
        raise InputError(f"{what}: unpacks to over the limit of {max_bytes:,} bytes; raise max_bytes to read it")
    return found


def _utf16(content: bytes | bytearray) -> str:
    """The name of the UTF-16 that content is in, or "". Without a mark, every other byte of ASCII text is a NUL."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    head = content[:512]
    for name, nuls, letters in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if nuls and nuls.count(0) > 0.7 * len(nuls) and letters.count(0) == 0:
            return name
    return ""


def _from_utf16(content: bytes | bytearray, name: str, what: str) -> bytes:
    try:
        return content.decode(name).encode()
    except UnicodeError as error:
        raise InputError(f"{what}: damaged UTF-16 text ({error}); save it as 'CSV UTF-8'") from error


def _from_windows(content: bytes | bytearray) -> bytes:
    """Windows-1252 as UTF-8, with the bytes that it does not define as Latin-1 has them."""
    letters = {byte: bytes([byte]).decode("cp1252") for byte in range(0x80, 0xA0) if byte not in _UNDEFINED}
    return content.decode("latin-1").translate(letters).encode()


def _is_utf8(content: bytes | bytearray) -> bool:
    if content.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), _BLOCK):
            decoder.decode(content[start : start + _BLOCK], final=start + _BLOCK >= len(content))
    except UnicodeDecodeError:
        return False
    return True
