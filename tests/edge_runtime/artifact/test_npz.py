import io

import numpy as np
import pytest

from edge_runtime.artifact.npz import members_of, write_members, written_bytes
from edge_runtime.errors import ArtifactError
from edge_runtime.files.aligned_npy import npy_header


def container(array):
    file = io.BytesIO()
    write_members(file, {"a": array})
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["i1", "u1", "<u2", "<i4", "<f2", "<f4", "<f8", "<i8"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (0, 3), (3, 5), (123_456,)])
def test_every_dtype_and_shape_comes_back_as_numpy_reads_it(dtype, shape):
    """The header is that of `np.save`, the bytes are those in memory, and the file has the size that was foretold."""
    array = (np.arange(np.prod(shape, dtype=int)) % 100).astype(dtype).reshape(shape)
    content = container(array)
    assert len(content) == written_bytes({"a": array})
    found = members_of(content, "m.npz")["a"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(np.load(io.BytesIO(content), allow_pickle=False)["a"], array)
    assert not found.flags.writeable


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"(3, 4)", b"(-3,4)"),
        (b"(3, 4)", b"(-3,-4"),
        (b"(3, 4)", b"(3,04)"),
        (b"(3, 4)", b"(+3,4)"),
        (b"(3, 4)", b"(3 ,4)"),
        (b"(3, 4)", b"((3,4)"),
        (b"(3, 4)", b"[3, 4]"),
        (b"(3, 4)", b"(1_2,)"),
        (b"(3, 4), }", b"(3, 4) ,}"),
        (b"False", b"True "),
        (b"'<f4'", b"'>f4'"),
        (b"'<f4'", b"'|O4'"),
        (b"{'descr'", b"{'Descr'"),
        (b" \n", b"\n "),
        (b"  \n", b"x \n"),
        (b"  \n", b"\n\n\n"),
    ],
)
def test_a_header_that_the_writer_does_not_make_is_refused(old, new):
    """Signs, zeros in front, other brackets, Fortran order, other byte orders, objects, text behind the end."""
    content = container(np.zeros((3, 4), np.float32))
    header = npy_header(np.zeros((3, 4), np.float32))
    changed = header.replace(old, new, 1)
    assert changed != header
    assert len(changed) == len(header)
    with pytest.raises(ArtifactError, match=r"member 'a' has a \.npy header that this format does not use"):
        members_of(content.replace(header, changed), "m.npz")


@pytest.mark.parametrize("shape", [b"(99999999999999999999999999999, 9)", b"(" + b"9" * 70 + b",)"])
def test_a_shape_beyond_any_memory_is_refused(shape):
    """Products and numbers of any length are compared with the file before anything is made."""
    content = container(np.zeros((3, 4), np.float32))
    header = npy_header(np.zeros((3, 4), np.float32))
    longer = header.replace(b"(3, 4)", shape)
    changed = longer.replace(b" " * (len(longer) - len(header)) + b"\n", b"\n")
    if len(changed) != len(header):
        changed = longer.rstrip(b" \n")[: len(header) - 1] + b"\n"
    with pytest.raises(ArtifactError, match=r"member 'a' (declares|has a \.npy header)"):
        members_of(content.replace(header, changed), "m.npz")
