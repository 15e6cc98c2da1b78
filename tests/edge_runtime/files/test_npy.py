import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import InputError
from edge_runtime.files.npy import read_npy_bytes, read_npz_arrays, read_npz_bytes


def npy(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version, allow_pickle=True)
    return buffer.getvalue()


def with_header(text: str, data: bytes = b"", version: int = 1) -> bytes:
    header = text.encode("latin1")
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u1", "<i2", ">i4", "<u8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "<U3"]
)
@pytest.mark.parametrize("shape", [(), (5,), (3, 2), (2, 3, 4), (0, 3)])
def test_every_plain_dtype_and_shape_reads_back(dtype, shape):
    """Bools, integers, floats and unicode of either byte order come back as numpy.save wrote them."""
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    read = read_npy_bytes(npy(array), "x.npy")
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_fortran_order_and_every_version_read_as_numpy_reads_them(version):
    """The three versions of the format and column-major data give the same array as numpy.load."""
    array = np.asfortranarray(np.arange(12, dtype=np.float64).reshape(3, 4))
    content = npy(array, version)
    np.testing.assert_array_equal(read_npy_bytes(content, "x"), np.load(io.BytesIO(content)))


def test_headers_of_other_writers_are_read():
    """Double quotes, another order of keys, no trailing comma and no padding are a valid header."""
    text = '{"shape":(2,),"descr":"<f4","fortran_order":False}'
    assert read_npy_bytes(with_header(text, np.float32([1, 2]).tobytes()), "x").tolist() == [1, 2]


HEADER = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"
HOSTILE = {
    "empty": b"",
    "magic only": b"\x93NUMPY",
    "text": b"hello, world",
    "version 9": b"\x93NUMPY\x09\x00" + bytes(20),
    "header cut off": npy(np.zeros(3))[:30],
    "header of 4 GiB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}",
    "no data": with_header(HEADER % ("<f4", "(10,)")),
    "one byte short": npy(np.zeros(3))[:-1],
    "one byte more": npy(np.zeros(3)) + b"\0",
    "2**60 values": with_header(HEADER % ("<f4", f"({2**60},)")),
    "product wraps to 4": with_header(HEADER % ("<f4", f"({2**62}, 4)"), bytes(16)),
    "product of zero": with_header(HEADER % ("<f4", f"({2**47}, {2**47}, 0)")),
    "negative": with_header(HEADER % ("<f4", "(-1, -3)"), bytes(12)),
    "40 axes": with_header(HEADER % ("<f4", "(" + "1, " * 40 + ")"), bytes(4)),
    "digits without end": with_header(HEADER % ("<f4", "(" + "9" * 5000 + ",)"), bytes(4)),
    "deep brackets": with_header(HEADER % ("<f4", "(" * 4000 + ")" * 4000), bytes(4)),
    "deep descr": with_header("{'descr': " + "[" * 9000, bytes(4)),
    "expression": with_header(HEADER % ("<f4", "(__import__('os').abort(),)"), bytes(4)),
    "key twice": with_header("{'shape': (1,), 'shape': (1,), 'descr': '<f4'}", bytes(4)),
    "key missing": with_header("{'shape': (1,), 'descr': '<f4'}", bytes(4)),
    "object": npy(np.array([1, "a", None], object)),
    "complex": npy(np.zeros(2, complex)),
    "byte strings": npy(np.array([b"a", b"bc"])),
    "dates": npy(np.array(["2020-01-01"], "M8[D]")),
    "structured": npy(np.zeros(2, [("a", "<f4"), ("b", "<i4")])),
    "void": npy(np.zeros(2, "V4")),
    "no such dtype": with_header(HEADER % ("<q9", "(1,)"), bytes(9)),
    "no such character": with_header(HEADER % ("<U1", "(1,)"), b"\x00\x00\x11\x00"),
    "no such character, big-endian": with_header(HEADER % (">U1", "(1,)"), b"\xff\xff\xff\xff"),
    "text of no width": with_header(HEADER % ("<U0", f"({2**40},)")),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_lying_or_unwanted_header_is_one_error(content):
    """Sizes that differ from the data's, impossible shapes, pickles and other dtypes are refused in one short line."""
    with pytest.raises(InputError, match=r"\Ax\.npy: .{1,300}\Z"):
        read_npy_bytes(content, "x.npy")


def test_structured_and_object_arrays_are_told_apart():
    """The message says what the array holds."""
    with pytest.raises(InputError, match="structured records"):
        read_npy_bytes(HOSTILE["structured"], "x")
    with pytest.raises(InputError, match="pickles, which can run code"):
        read_npy_bytes(HOSTILE["object"], "x")


def test_named_arrays_are_read_and_others_are_not_opened(tmp_path):
    """Required and optional arrays come back by name; an absent optional one is left out; others may be damaged."""
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy(np.arange(3)))
        archive.writestr("junk.npy", b"not an array")
    arrays = read_npz_arrays(path, ["x"], ["y"])
    assert list(arrays) == ["x"]
    assert arrays["x"].tolist() == [0, 1, 2]


def test_a_missing_array_is_named_beside_those_found():
    """The message says which array is missing and what the file holds."""
    with pytest.raises(InputError, match=r"no array 'x' in it \(found: data\.npy\)"):
        read_npz_bytes(npz(data=np.zeros(2)), "d.npz", ["x"])


def test_a_bomb_is_refused_by_its_declared_size():
    """50 MB of zeros in 50 kB are not unpacked where the limit is 1 MB; it holds for all named arrays together."""
    bomb = npz(x=np.zeros(50_000_000, np.uint8))
    assert len(bomb) < 60_000
    with pytest.raises(InputError, match="unpacks to 50,000,128 bytes, over the limit of 1,000,000"):
        read_npz_bytes(bomb, "b.npz", ["x"], max_bytes=1_000_000)
    two = npz(x=np.zeros(600_000, np.uint8), y=np.zeros(600_000, np.uint8))
    with pytest.raises(InputError, match="over the limit"):
        read_npz_bytes(two, "b.npz", ["x", "y"], max_bytes=1_000_000)


def test_a_bomb_that_declares_a_small_size_is_not_unpacked_further():
    """A directory that understates a member's size gets that many bytes and then an error."""
    content = bytearray(npz(x=np.zeros(5_000_000, np.uint8)))
    size = struct.pack("<I", 5_000_128)
    content = content.replace(size, struct.pack("<I", 1000))
    with pytest.raises(InputError, match=r"b\.npz"):
        read_npz_bytes(content, "b.npz", ["x"], max_bytes=1_000_000)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_only_what_numpy_writes_is_unpacked(method):
    """Methods whose memory the file chooses are refused."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.npy", npy(np.zeros(100)))
    with pytest.raises(InputError, match="packed in an unknown way"):
        read_npz_bytes(buffer.getvalue(), "d.npz", ["x"])


def test_an_array_that_is_there_twice_is_refused():
    """Which of two would be meant is not guessed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", npy(np.zeros(1)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", npy(np.ones(1)))
    with pytest.raises(InputError, match="appears twice"):
        read_npz_bytes(buffer.getvalue(), "d.npz", ["x"])


def check_answer(read, content) -> None:
    message = ""
    try:
        read(content)
    except InputError as error:
        message = str(error)
    assert not message or message.isprintable()


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00\x20\x00\x00\x00{", b"PK\x03\x04"]),
)
def test_any_bytes_are_an_array_or_one_error(content, start):
    """Random bytes, after a valid beginning or none, never raise anything but InputError."""
    for read in (lambda data: read_npy_bytes(data, "x"), lambda data: read_npz_bytes(data, "x", ["x"])):
        check_answer(read, start + content)


VALID = [
    npy(np.arange(6, dtype=np.float32).reshape(2, 3)),
    npy(np.array(["a", "bc"])),
    npz(x=np.arange(6.0), y=np.arange(3)),
]


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 999), st.binary(max_size=6)), min_size=1, max_size=4))
def test_a_damaged_file_is_an_array_or_one_error(content, edits):
    """Valid files with some bytes overwritten never raise anything but InputError."""
    damaged = bytearray(content)
    for place, patch in edits:
        damaged[place % len(content) : place % len(content) + len(patch)] = patch
    for read in (lambda data: read_npy_bytes(data, "x"), lambda data: read_npz_bytes(data, "x", ["x"], ["y"])):
        check_answer(read, damaged)


@pytest.mark.parametrize("content", VALID, ids=["npy", "text", "npz"])
def test_every_truncation_is_one_error(content):
    """A file that was cut off anywhere is refused."""
    for length in range(len(content)):
        with pytest.raises(InputError):
            (
                read_npz_bytes(content[:length], "x", ["x"])
                if content[:1] == b"P"
                else read_npy_bytes(content[:length], "x")
            )
