"""Damage to plain bytes and to text, from a seeded generator, for the formats that need no repair afterwards."""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from collections.abc import Callable

Mutate = Callable[[bytes, random.Random], bytes]

_BYTES = [0, 1, 2, 7, 10, 13, 32, 34, 44, 127, 128, 254, 255]
_TOKENS = [
    b",", b";", b"\t", b"\n", b"\r\n", b"\r", b'"', b'""', b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"-", b"+", b".", b"e",
    b"nan", b"inf", b"-inf", b"1e39", b"1e-50", b"1_000", b"0x1p3", b"1,5", b" ", b"\xc3\xbc", b"\xe2\x80\xa8",
    b"\x1b[2J", b"\xed\xa0\x80", b"9" * 400, b"1" * 20, b"\x1c", b"\x85", "٣".encode(), b"_", b"a,b\n", b"x;y\n",
    b"|", b"#", b"%", b"\n#", b"sep=;\n", b"1.234,5", b"1,234", b"1 234", b"?", b"NA", b"\xe9", b"a b c\n", b";;;\n",
]  # fmt: skip
_SIZES = [0, 1, 2, 3, 255, 256, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
_DESCRS = [
    b"<f4", b"<f8", b"<f2", b">f4", b">i8", b"|i1", b"|u1", b"<u8", b"|b1", b"<U3", b">U1", b"|O", b"<c8", b"|S3",
    b"|V8", b"<M8[s]", b"<f3", b"<f16", b"<U0", b"|u0", b"=i4", b"<i9999",
]  # fmt: skip
_INT32 = [struct.pack("<i", -(1 << 31)), struct.pack("<i", (1 << 31) - 1)]
_LENGTHS = [b"0", b"1", b"2", b"3", b"7", b"-1", b"65536", b"1099511627776", b"1152921504606846976", b"9" * 30]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One to four changes anywhere: bits, bytes, stretches cut, doubled or moved, numbers at their limits."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.choice(_BYTES)
        elif kind == 2:
            del data[at : at + rng.randint(1, 40)]
        elif kind == 3:
            start = rng.randrange(len(data) + 1)
            data[at:at] = data[start : start + rng.randint(1, 60)]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.randint(1, 8))
        elif kind == 5:
            data[at : at + 4] = rng.choice(_SIZES).to_bytes(4, rng.choice(["little", "big"]))
        else:
            del data[at:]
    return bytes(data)


def damaged_text(content: bytes, rng: random.Random) -> bytes:
    """Tokens of CSV put in, lines and cells doubled, moved or cut, and now and then plain damage."""
    if rng.random() < 0.25:
        return damaged(content, rng)
    data = content
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(4)
        if kind == 0:
            at = rng.randrange(len(data) + 1)
            data = data[:at] + rng.choice(_TOKENS) + data[at + rng.choice([0, 0, 1, 3]) :]
        else:
            mark = rng.choice([b"\n", b",", b";"])
            parts = data.split(mark)
            at = rng.randrange(len(parts))
            if kind == 1:
                parts[at] = rng.choice(_TOKENS)
            elif kind == 2:
                parts[at:at] = [rng.choice(parts)] * rng.choice([1, 1, 2, 50])
            else:
                del parts[at]
            data = mark.join(parts)
    return data


def damaged_npy(content: bytes, rng: random.Random) -> bytes:
    """A `.npy` whose header says something else, with the length of the header and mostly of the data mended."""
    if rng.random() < 0.2 or len(content) < 12 or content[:6] != b"\x93NUMPY":
        return damaged(content, rng)
    width = 2 if content[6] == 1 else 4
    start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
    version, header, data = content[6:8], content[8 + width : start], content[start:]
    kind = rng.randrange(6)
    if kind == 0:
        head, _, tail = header.partition(b"'descr': '")
        header = head + b"'descr': '" + rng.choice(_DESCRS) + b"'" + tail.partition(b"'")[2]
    elif kind == 1:
        head, _, tail = header.partition(b"(")
        shape = b", ".join(rng.choice(_LENGTHS) for _ in range(rng.randint(0, 4)))
        header = head + b"(" + shape + rng.choice([b",)", b")"]) + tail.partition(b")")[2]
    elif kind == 2:
        header = rng.choice([header.replace(b"False", b"True"), header.replace(b"'", b'"'), header.strip()])
    elif kind == 3:
        version = rng.choice([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x04\x00", b"\x00\x01"])
    elif kind == 4:
        header = damaged(header, rng)
    else:
        data = damaged_numbers(data, rng)
    length = len(header).to_bytes(4 if version[0] in (2, 3) else 2, "little") if len(header) < 1 << 16 else b"\xff\xff"
    return b"\x93NUMPY" + version + length + header + data


def damaged_numbers(data: bytes, rng: random.Random) -> bytes:
    """Bytes of an array with a number at its limit put in: NaN, inf, subnormal, the largest, the smallest."""
    if rng.random() < 0.3 or len(data) < 8:
        return damaged(data, rng)
    value = rng.choice([float("nan"), float("inf"), -float("inf"), 1e-45, 1e-40, 3.4e38, -3.4e38, 0.0, -0.0, 1.0, 0.5])
    half = max(-6e4, min(value, 6e4))
    packed = rng.choice(
        [struct.pack("<d", value), struct.pack("<e", half), b"\x80", b"\x7f", b"\xff", b"\0", *_INT32]
        + [struct.pack("<f", value)] * 3
    )
    if rng.random() < 0.1:
        return packed * (len(data) // len(packed))
    at = rng.randrange(len(data)) // len(packed) * len(packed)
    return (data[:at] + packed + data[at + len(packed) :])[: len(data)]


def damaged_idx(content: bytes, rng: random.Random) -> bytes:
    """An IDX file with another type, number of axes or length; a gzipped one is unpacked first and packed again."""
    if rng.random() < 0.2:
        return damaged(content, rng)
    is_packed = content[:2] == b"\x1f\x8b"
    plain = content
    if is_packed:
        try:
            plain = zlib.decompressobj(31).decompress(content, 1 << 16)
        except zlib.error:
            return damaged(content, rng)
    data = bytearray(plain)
    for _ in range(rng.randint(1, 2)):
        kind = rng.randrange(4)
        if kind == 0 and len(data) > 3:
            data[2] = rng.choice([0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E, 0x0A, 0])
        elif kind == 1 and len(data) > 3:
            data[3] = rng.choice([0, 1, 2, 3, 4, 5, 255])
        elif kind == 2:
            at = 4 + 4 * rng.randrange(4)
            data[at : at + 4] = struct.pack(">I", rng.choice(_SIZES))
        else:
            data = bytearray(damaged(bytes(data), rng))
    if rng.random() < 0.1:
        is_packed = not is_packed
    return gzip.compress(bytes(data), 1, mtime=0) if is_packed else bytes(data)
