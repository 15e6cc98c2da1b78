import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from edge_runtime.artifact.npz import MAX_MEMBERS, write_members
from edge_runtime.artifact.zip_directory import END_BYTES, directory_start, read_directory
from edge_runtime.errors import ArtifactError


def container(count=3):
    """A file of `count` members, with its bytes."""
    file = io.BytesIO()
    write_members(file, {f"member{index}": np.arange(index, dtype=np.float32) for index in range(count)})
    return file.getvalue()


@pytest.mark.parametrize("count", [0, 1, 2, 57])
def test_the_directory_is_what_zipfile_reads(count):
    """Names, sizes, methods and offsets are those that Python's own reader finds, and the directory's place too."""
    content = container(count)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        expected = [
            (i.filename.encode(), i.flag_bits, i.compress_type, i.compress_size, i.file_size, i.header_offset)
            for i in archive.infolist()
        ]
        start = archive.start_dir
    found = read_directory(content, "m.npz", MAX_MEMBERS)
    assert [tuple(entry)[:-1] for entry in found] == expected
    assert directory_start(content) == start
    assert start + sum(entry.directory_bytes for entry in found) + END_BYTES == len(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "not a readable .npz file"),
        (lambda content: b"\x08\x08\x12\x08smallnet" + content, "begins as an ONNX file, .* with 'smallnet import'"),
        (lambda content: b"\x08\xff" + content[:-1], "no end of a zip directory"),
        (lambda content: content[:-1], "no end of a zip directory"),
        (lambda content: content + b"\0", "no end of a zip directory"),
        (lambda content: content[:-2] + b"\x01\0" + b"x", "no end of a zip directory"),
        (lambda content: b"prefix" + content, "not where it says"),
        (lambda content: content[:-22] + b"PK\x05\x06" + bytes(2) + b"\x02\0" + content[-14:], "not where it says"),
        (lambda content: content[:-14] + b"\x02\0\x02\0" + content[-10:], "bytes to spare"),
        (lambda content: content[:-14] + b"\x04\0\x04\0" + content[-10:], "directory is damaged"),
        (lambda content: content.replace(b"PK\x01\x02", b"PK\x01\x03", 1), "directory is damaged"),
    ],
)
def test_anything_else_is_refused(change, message):
    """Cut, extended, with a comment, behind a prefix, with a wrong count or a damaged entry: ArtifactError names it."""
    with pytest.raises(ArtifactError, match=rf"^m\.npz: .*{message}"):
        read_directory(change(container()), "m.npz", MAX_MEMBERS)


def test_no_length_in_an_entry_leads_out_of_the_directory():
    """The lengths of an entry's name, extra field and comment set to anything: refused, never read beyond."""
    content = container()
    start = content.index(b"PK\x01\x02")
    for field in (28, 30, 32):
        for value in (b"\xff\xff", b"\x00\x10"):
            changed = content[: start + field] + value + content[start + field + 2 :]
            with pytest.raises(ArtifactError, match="directory"):
                read_directory(changed, "m.npz", MAX_MEMBERS)


def test_the_number_of_members_is_limited():
    """Four members where three are allowed."""
    with pytest.raises(ArtifactError, match="4 members, expected at most 3"):
        read_directory(container(4), "m.npz", 3)


def test_loading_imports_neither_zipfile_nor_openssl(tmp_path):
    """A device that loads a small artifact pays for no module that it does not need."""
    from edge_runtime import save
    from tests.networks import random_model

    save(random_model([4, 3, 2], ["relu", "softmax"]), tmp_path / "m.npz")
    code = "import sys, edge_runtime; edge_runtime.load(sys.argv[1]); print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code, tmp_path / "m.npz"], text=True).split()
    bare = subprocess.check_output([sys.executable, "-c", "import sys, numpy; print(*sys.modules)"], text=True).split()
    assert not (set(loaded) - set(bare)) & {"zipfile", "hashlib", "_hashlib"}
