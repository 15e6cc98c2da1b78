"""Damage to artifacts, checkpoints and `.npz` files that survives the first checks: CRCs and digests are made anew.

A zip's CRC and the SHA-256 over the content refuse nearly every changed byte, so that plain damage never gets further.
Here a file is taken apart, its members are changed, and it is put together with checksums that fit.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import warnings
import zipfile
from typing import Any

from edge_runtime.artifact.npz import ALIGNMENT
from tests.fuzz.mutate_bytes import damaged, damaged_npy, damaged_numbers

Members = list[tuple[str, bytes]]
_MOST = 1 << 18  # bytes of an array that is made
_NAMES = [
    "x", "y", "class_names", "feature_names", "source", "format", "checkpoint", "layer0.weight", "layer0.bias",
    "layer1.weight", "layer0.table", "layer0.multiplier", "layer0.weight_scale", "input.mean", "input.inv_std",
    "test.inputs", "test.outputs", "slot0", "order", "values", "", "../x", "/x", "ü", "a\x1b[31m",
]  # fmt: skip
_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 127, 128, 255, 256, 1e-46, 1e-39, 1e-30, 0.1, 0.25, 0.5, 1.5, 3.4e38, 1e39,
    1e308, 2**31, 2**53, 2**63, 10**30, 10**400, float("nan"), float("inf"), -float("inf"), "", "a", "dense0",
    "\x1b[2J\x07", "\u202e", "\ud800", "a" * 3000, "float32", "float16", "int8", "int4", "int8-dynamic", "linear",
    "relu", "leaky_relu", "elu", "selu", "celu", "clip", "tanh", "sigmoid", "hard_sigmoid", "hard_swish", "swish",
    "mish", "gelu", "gelu_tanh", "abs", "softplus", "softsign", "thresholded_relu", "softmax", "log_softmax", "{}",
    "[[]]", [], {}, [0, 1], [0.5, 0], [1.0, 300], {"alpha": 0.0}, {"alpha": 1e30, "gamma": -1.0}, {"alpha": 5},
    {"min": 1.0, "max": -1.0}, [[[[[[]]]]]],
]  # fmt: skip
_KEYS = [
    "params", "alpha", "beta", "gamma", "min", "max", "input", "output", "table_output", "kind", "name", "target",
    "layers", "class_names", "metadata", "epoch", "offset", "step", "sums", "history", "generator", "state",
]  # fmt: skip


def damaged_artifact(content: bytes, rng: random.Random) -> bytes:
    """A changed artifact with, nine times in ten, the digest that belongs to the change."""
    return _changed(content, rng, "format", "smallnet 1 sha256=")


def damaged_checkpoint(content: bytes, rng: random.Random) -> bytes:
    """The same for a checkpoint of training."""
    return _changed(content, rng, "checkpoint", "smallnet-checkpoint 1 sha256=")


def damaged_npz(content: bytes, rng: random.Random) -> bytes:
    """A changed `.npz` of data, stored or deflated."""
    return _changed(content, rng, "", "")


def _changed(content: bytes, rng: random.Random, header: str, line: str) -> bytes:
    members = _taken_apart(content)
    if rng.random() < 0.1 or not members:
        return damaged(content, rng)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        members = _change(members, rng, header, line)
    if header and rng.random() < 0.9:
        members = _with_digest(members, header, line)
    packed = _put_together(members, rng, deflate=not header and rng.random() < 0.4)
    return damaged(packed, rng) if rng.random() < 0.05 else packed


def _taken_apart(content: bytes) -> Members:
    """Names and bytes of the members; none where that cannot be."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()[:64]
            if sum(info.file_size for info in infos) > 1 << 20:
                return []
            return [(info.filename.removesuffix(".npy"), archive.read(info)) for info in infos]
    except Exception:
        return []


def _change(members: Members, rng: random.Random, header: str, line: str) -> Members:
    """One change: of the JSON, of an array, or of the list of members."""
    members = list(members)
    if not members:
        return members
    at = rng.randrange(len(members))
    name, data = members[at]
    kind = rng.randrange(10)
    if kind < 4 and header:
        return [(key, _changed_header(value, rng, line) if key == header else value) for key, value in members]
    if kind < 7:
        members[at] = (name, damaged_npy(data, rng) if rng.random() < 0.5 else _with_numbers(data, rng))
    elif kind == 7:
        other = rng.choice(members)
        change = rng.randrange(4)
        if change == 0:
            del members[at]
        elif change == 1:
            members.insert(rng.randrange(len(members) + 1), other)
        else:
            members[at] = (rng.choice([*_NAMES, other[0]]) if change == 2 else name, other[1])
    elif kind == 8:
        members = _resized(members, rng)
    else:
        rng.shuffle(members)
    return members


def _with_numbers(npy: bytes, rng: random.Random) -> bytes:
    start = 10 + int.from_bytes(npy[8:10], "little")
    return npy[:start] + damaged_numbers(npy[start:], rng)


def _resized(members: Members, rng: random.Random) -> Members:
    """Another length for every axis of one length, with data to match, so that the network still fits together."""
    shapes = [_npy_parts(data) for _, data in members]
    lengths = sorted({length for parts in shapes if parts for length in parts[1]})
    if not lengths:
        return members
    old, new = rng.choice(lengths), rng.choice([0, 1, 2, 3, 8, 17, 40])
    result = []
    for (name, data), parts in zip(members, shapes, strict=True):
        if parts is None or old not in parts[1] or name in ("format", "checkpoint"):
            result.append((name, data))
            continue
        descr, shape, body = parts
        shape = tuple(new if length == old else length for length in shape)
        size = _product(shape) * int(descr[2:])
        if size > _MOST:
            return members
        body = (body * (size // max(1, len(body)) + 1))[:size].ljust(size, b"\0")
        result.append((name, npy_bytes(descr, shape, body)))
    return result


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total


def _npy_parts(npy: bytes) -> tuple[str, tuple[int, ...], bytes] | None:
    """descr, shape and data of a `.npy` as this project writes it; None for any other."""
    start = 10 + int.from_bytes(npy[8:10], "little")
    text = npy[10:start].decode("latin1")
    try:
        descr = text.split("'descr': '", 1)[1].split("'", 1)[0]
        shape = tuple(int(part) for part in text.split("(", 1)[1].split(")", 1)[0].split(",") if part.strip())
        int(descr[2:])
    except (IndexError, ValueError):
        return None
    if not all(0 <= length < 1 << 16 for length in shape) or _product(shape) * int(descr[2:]) > _MOST:
        return None
    return descr, shape, npy[start:]


def npy_bytes(descr: str, shape: tuple[int, ...], data: bytes) -> bytes:
    """A `.npy` of format 1.0 with this header, whatever the data is."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(11 + len(text)) % ALIGNMENT) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def _changed_header(npy: bytes, rng: random.Random, line: str) -> bytes:
    """The member that holds the JSON, with one value, key or character of it changed."""
    start = 10 + int.from_bytes(npy[8:10], "little")
    first, _, text = npy[start:].partition(b"\n")
    kind = rng.randrange(12)
    if kind == 0:
        text = damaged(text, rng)
    elif kind == 1:
        first = rng.choice([line.replace("1", "2", 1).encode(), line.encode(), b"", damaged(first, rng)])
    elif kind == 2:
        text = rng.choice([b"[" * 50_000, b'{"layers":' * 5000, text * 2, b"{}", b"[]", b'"', b"1e999", b"\xff"])
    else:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = {}
        text = json.dumps(_changed_value(value, rng)).encode()
    content = first + b"\n" + text
    return npy_bytes("|u1", (len(content),), content)


def _changed_value(value: Any, rng: random.Random) -> Any:
    """The JSON value with something in its tree replaced, left out, doubled or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key, kind = rng.choice(list(value)), rng.randrange(8)
        if kind == 0:
            return {name: item for name, item in value.items() if name != key}
        if kind == 1:
            return value | {rng.choice([*_KEYS, "\x1b[0m", ""]): rng.choice(_VALUES)}
        return value | {key: _changed_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at, kind = rng.randrange(len(value)), rng.randrange(6)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return [*value[:at], value[rng.randrange(len(value))], *value[at:]]
        return [*value[:at], _changed_value(value[at], rng), *value[at + 1 :]]
    if isinstance(value, str) and value.startswith("{") and rng.random() < 0.7:  # JSON within JSON: a history
        return json.dumps(_changed_value(json.loads(value), rng)) if _is_json(value) else value[:-1]
    return rng.choice(_VALUES)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _with_digest(members: Members, header: str, line: str) -> Members:
    """The members with the SHA-256 over the others in the header's first line; as they are where none can be made."""
    found = next((data for name, data in members if name == header), b"")
    start = 10 + int.from_bytes(found[8:10], "little")
    first, _, text = found[start:].partition(b"\n")
    digest = hashlib.sha256(text)
    for name, data in members:
        if name == header:
            continue
        parts = _npy_parts(data)
        if parts is None:
            return members
        digest.update(f"\n{name} {parts[0]} {parts[1]}\n".encode("utf-8", "replace") + parts[2])
    if not first.startswith(line.encode()):
        return members
    content = line.encode() + digest.hexdigest().encode() + b"\n" + text
    return [(n, npy_bytes("|u1", (len(content),), content) if n == header else data) for n, data in members]


def _put_together(members: Members, rng: random.Random, *, deflate: bool) -> bytes:
    """A zip of the members, aligned as artifacts are; one time in ten with a lie in its directory."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", 8 if deflate else 0) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice, on purpose
        for name, data in members:
            info = zipfile.ZipInfo(f"{name}.npy" if name else rng.choice(["", "a"]), (1980, 1, 1, 0, 0, 0))
            info.compress_type = 8 if deflate else 0
            start = file.tell() + 30 + len(info.filename.encode("utf-8", "replace")) + 4
            info.extra = struct.pack("<HH", 0xD935, -start % ALIGNMENT) + bytes(-start % ALIGNMENT)
            archive.writestr(info, data)
            info.extra = b""
        if rng.random() < 0.1 and archive.infolist():
            _lie(rng.choice(archive.infolist()), rng)
    return file.getvalue()


def _lie(info: zipfile.ZipInfo, rng: random.Random) -> None:
    """Change a directory entry, which is written when the archive is closed."""
    field = rng.choice(["header_offset", "file_size", "compress_size", "CRC", "flag_bits", "compress_type"])
    value = {"flag_bits": [1, 8, 0x800, 0xFFFF], "compress_type": [0, 8, 12, 14, 99], "CRC": [0, 1]}
    setattr(info, field, rng.choice(value.get(field, [0, 1, 30, 64, 0xFFFF, (1 << 31) - 1, (1 << 32) + 5])))
