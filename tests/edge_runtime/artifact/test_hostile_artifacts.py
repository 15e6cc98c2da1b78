"""Files that somebody made to do harm, kind by kind: each is refused in one line, after little work."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import warnings
import zipfile

import numpy as np
import pytest

from edge_runtime import ArtifactError, Engine, load
from edge_runtime.artifact.artifact import load_bytes, save_bytes, to_members
from edge_runtime.artifact.npz import write_members
from edge_runtime.files.aligned_npy import npy_header
from tests.memory import traced
from tests.networks import random_model
from tests.work import counted_calls

HEADER = {
    "layers": [{"name": "dense0", "kind": "float32", "activation": "linear"}],
    "class_names": [],
    "metadata": {},
}


def packed(members, method=zipfile.ZIP_STORED) -> bytes:
    """A zip of (name, bytes) pairs, as they are."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def npy(header: str, data: bytes = b"") -> bytes:
    """A .npy of format 1.0 with this header, true or not."""
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def described(descr: str, shape: str, fortran: bool = False) -> str:
    return f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"


def forged(header=HEADER, text: bytes | None = None, **changed) -> bytes:
    """An artifact of a 3-2 network with this header and these members in place of its own, and the right digest."""
    members = dict(to_members(random_model([3, 2], ["linear"])))
    del members["format"]
    members |= {name.replace("_", "."): array for name, array in changed.items()}
    text = json.dumps(header).encode() if text is None else text
    digest = hashlib.sha256(text)
    for name, array in members.items():
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    file = io.BytesIO()
    line = f"smallnet 1 sha256={digest.hexdigest()}\n".encode() + text
    write_members(file, {"format": np.frombuffer(line, np.uint8), **members})
    return file.getvalue()


def overlapping() -> bytes:
    """One member whose bytes lie within those of another."""
    inner = packed([("b.npy", npy(described("|u1", "(4,)"), bytes(4)))])
    whole = bytearray(packed([("format.npy", npy(described("|u1", f"({len(inner)},)"), inner)), ("b.npy", b"")]))
    entry = whole.rindex(b"PK\x01\x02")
    size = len(npy(described("|u1", "(4,)"), bytes(4)))
    whole[entry + 20 : entry + 28] = size.to_bytes(4, "little") * 2
    whole[entry + 42 : entry + 46] = whole.index(b"PK\x03\x04", 4).to_bytes(4, "little")
    return bytes(whole)


def into_the_directory() -> bytes:
    """One member that is said to have 22 bytes more than it has, which are the directory's."""
    whole = bytearray(packed([("format.npy", npy(described("|u1", "(30,)"), bytes(8)))]))
    entry = whole.rindex(b"PK\x01\x02")
    size = int.from_bytes(whole[entry + 20 : entry + 24], "little") + 22
    whole[entry + 20 : entry + 28] = size.to_bytes(4, "little") * 2
    return bytes(whole)


FORMAT = ("format.npy", npy(described("|u1", "(1,)"), b"x"))
VALUES = np.ones((3, 2), np.float32)
GRID = {"name": "dense0", "kind": "int8", "activation": "linear", "input": [1.0, 0]}
KINDS = {
    "zip bomb": (packed([("format.npy", bytes(50_000_000))], zipfile.ZIP_DEFLATED), "compressed"),
    "members of LZMA": (packed([FORMAT], zipfile.ZIP_LZMA), "compressed"),
    "overlapping members": (overlapping(), "overlaps"),
    "a member twice": (packed([FORMAT, FORMAT]), "appears twice"),
    "5,000 members": (packed([(f"{i}.npy", b"") for i in range(5000)]), "5,000 members"),
    "line break in a name": (packed([("a\n\x1b[2J.npy", b"")]), r"a\\n\\x1b"),
    "2^60 values": (packed([("format.npy", npy(described("|u1", f"({2**60},)")))]), "declares"),
    "10^23 values": (packed([("format.npy", npy(described("|u1", f"({10**11}, {10**11})")))]), "declares"),
    "a negative size": (packed([("format.npy", npy(described("|u1", "(-1,)")))]), "header"),
    "an empty array of 10^19 columns": (
        packed([("format.npy", npy(described("|u1", f"(0, {10**19})")))]),
        "impossible",
    ),
    "a member of the directory's bytes": (into_the_directory(), "overlaps the zip directory"),
    "three axes": (packed([("format.npy", npy(described("|u1", "(1, 1, 1)"), b"x"))]), "header"),
    "objects": (packed([("format.npy", npy(described("|O", "(1,)"), b"cos\nsystem\n(S'x'\ntR."))]), "header"),
    "Fortran order": (packed([("format.npy", npy(described("|u1", "(1,)", True), b"x"))]), "header"),
    "big-endian": (packed([("format.npy", npy(described(">f4", "(1,)"), bytes(4)))]), "header"),
    "npy version 2": (packed([("format.npy", b"\x93NUMPY\x02\x00" + bytes(20))]), "format 1.0"),
    "deep JSON": (forged(text=b"[" * 500_000), "not JSON"),
    "a number of a million digits": (forged(text=b'{"layers":1' + b"0" * 900_000 + b"}"), "not JSON|layers"),
    "a header over 1 MiB": (forged(text=b'"' + b"a" * (1 << 20) + b'"'), "its header has"),
    "JSON that is no object": (forged(text=b"[]"), "header"),
    "half a surrogate": (forged(HEADER | {"metadata": {"a": "\ud800"}}), "Unicode"),
    "NaN in a weight": (forged(layer0_weight=VALUES * np.float32("nan")), "NaN or inf"),
    "inf in a bias": (forged(layer0_bias=np.float32([0, np.inf])), "NaN or inf"),
    "float64 weights": (forged(layer0_weight=VALUES.astype(np.float64)), "float64"),
    "a weight of no columns": (forged(layer0_weight=VALUES[:, :0], layer0_bias=np.float32([])), "both at least 1"),
    "a bias of another width": (forged(layer0_bias=np.zeros(3, np.float32)), "shape"),
    "an infinite scale": (forged(HEADER | {"layers": [GRID | {"input": [float("inf"), 0]}]}), "scale is inf"),
    "a scale beyond float32": (forged(HEADER | {"layers": [GRID | {"input": [1e39, 0]}]}), r"scale is 1e\+39"),
    "a NaN scale": (forged(HEADER | {"layers": [GRID | {"input": [float("nan"), 0]}]}), "scale is nan"),
    "a zero point off the grid": (forged(HEADER | {"layers": [GRID | {"input": [1.0, 256]}]}), "zero_point is 256"),
    "a zero point below the grid": (forged(HEADER | {"layers": [GRID | {"input": [1.0, -1]}]}), "zero_point is -1"),
    "layers that do not chain": (
        forged(
            HEADER | {"layers": [HEADER["layers"][0], HEADER["layers"][0] | {"name": "b"}]},
            layer1_weight=VALUES,
            layer1_bias=VALUES[0],
        ),
        "takes 3",
    ),
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_files_are_refused_in_few_calls_and_little_memory(tmp_path, kind, mmap):
    """One printable line that names the file, after few calls, and no more memory than some copies of the file."""
    content, message = KINDS[kind]
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with pytest.raises(ArtifactError):  # once before, because errors too need modules
        load_bytes(content)
    with traced() as peak, counted_calls() as calls:
        with pytest.raises(ArtifactError, match=message) as caught:
            load(path, mmap=mmap)
        assert peak() < 8 * len(content) + (4 << 20)
    assert calls() < 5_000
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


def test_the_forged_files_differ_from_a_good_one_in_one_thing_only():
    """Without a change, the file that the refusals above are made of is read and runs; names may be any Unicode."""
    model = load_bytes(forged(HEADER | {"class_names": ["ü", "\u202e名"]}))
    assert model.class_names == ("ü", "\u202e名")
    assert Engine(model).run(np.zeros(3, np.float32)).shape == (2,)
    assert save_bytes(load_bytes(save_bytes(model))) == save_bytes(model)
    assert len(npy_header(VALUES)) % 64 == 0


@pytest.mark.skipif(os.name != "posix", reason="pipes and sockets with names are POSIX")
@pytest.mark.parametrize("mmap", [False, True])
def test_what_is_no_file_is_refused_without_being_opened(tmp_path, monkeypatch, mmap):
    """A pipe, whose writer would be waited for, a socket, a device without end, a folder, and a name with a NUL."""
    monkeypatch.chdir(tmp_path)  # a socket's name has to be short
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for name in (tmp_path / "pipe", tmp_path / "socket", "/dev/zero", tmp_path, "a\0b"):
            with pytest.raises(ArtifactError) as caught:
                load(name, mmap=mmap)
            assert str(caught.value).isprintable()
    with pytest.raises(ArtifactError, match=r"\Aa\\x00b: a file's name cannot hold a NUL character\Z"):
        load("a\0b")


def test_a_file_that_claims_a_terabyte_is_not_read(tmp_path):
    """A sparse file costs its maker nothing; the limit is compared with its size before a byte is read."""
    path = tmp_path / "m.npz"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with traced() as peak:
        with pytest.raises(ArtifactError, match="over the limit of 268,435,456; raise max_bytes"):
            load(path)
        assert peak() < 1 << 20
