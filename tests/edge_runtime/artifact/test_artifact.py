import hashlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import ArtifactError, Engine, Model, TestVectors, load, save
from edge_runtime.artifact.artifact import artifact_bytes, from_members, save_bytes, to_members
from edge_runtime.artifact.npz import read_members, write_members
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows

PRECISIONS = ["float32", "float16", "int8"]


def small_model(precision="int8"):
    """7-5-3 with everything an artifact can hold: preprocessing, a table, class names, metadata, test vectors."""
    model = random_model([7, 5, 4, 3], ["tanh", "leaky_relu", "softmax"], standardize=True)
    rows = random_rows(50, 7)
    model = replace(quantize(model, rows, precision), class_names=("a", "b", "ü"), metadata={"data": "random"})
    return model.with_test_vectors(TestVectors(rows[:3], Engine(model).logits(rows[:3])))


def as_bytes(model):
    file = io.BytesIO()
    write_members(file, to_members(model))
    return file.getvalue()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("mmap", [False, True])
def test_what_was_saved_is_what_is_loaded(tmp_path, precision, mmap):
    """Every array, grid, name and string comes back, and so does every output bit."""
    model = small_model(precision)
    save(model, tmp_path / "m.npz")
    again = load(tmp_path / "m.npz", mmap=mmap)
    assert again.metadata == model.metadata
    assert again.class_names == model.class_names
    assert as_bytes(again) == as_bytes(model)
    rows = random_rows(9, 7)
    np.testing.assert_array_equal(Engine(again).run(rows), Engine(model).run(rows))


def test_the_same_model_gives_the_same_bytes(tmp_path):
    """Nothing of the time, the process or the operating system is in the file."""
    save(small_model(), tmp_path / "a.npz")
    save(small_model(), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


# SHA-256 of the file that the next test makes
GOLDEN = "44195bcb812ac42e6489424a848c250f320ca3519bc7e79825832ce9dab331d2"


def test_the_format_is_fixed_to_the_byte(tmp_path):
    """Golden digest of a hand-made model: a change here is a new format version."""
    rng = np.random.default_rng(0)
    model = random_model([3, 2], ["relu"])
    layer = replace(
        model.layers[0],
        weight=rng.integers(-8, 8, (3, 2)).astype(np.float32),
        bias=np.array([0.5, -1.0], np.float32),
    )
    content = as_bytes(replace(model, layers=(layer,), metadata={"made_by": "test"}))
    assert hashlib.sha256(content).hexdigest() == GOLDEN, "bump FORMAT_VERSION, keep reading the old one"


def test_numpy_reads_the_file_without_this_package(tmp_path):
    """The artifact is a plain .npz: np.load gives every array with pickle forbidden, and the header is readable."""
    model = small_model()
    save(model, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["layer0.weight"], model.layers[0].weight)
        line, _, text = bytes(file["format"]).partition(b"\n")
    assert line.startswith(b"smallnet 1 sha256=")
    assert [entry["name"] for entry in json.loads(text)["layers"]] == ["dense0", "dense1", "dense2"]


def test_array_data_is_aligned_to_64_bytes_in_the_file(tmp_path):
    """A memory map hands the arrays out without copying them."""
    save(small_model(), tmp_path / "m.npz")
    for name, array in read_members(tmp_path / "m.npz", max_bytes=1 << 20, use_mmap=True).items():
        assert array.ctypes.data % 64 == 0, name


def test_a_flipped_bit_never_changes_the_answer_silently(tmp_path):
    """Each single-bit flip of a small artifact is refused, or changes nothing that the model holds."""
    path = tmp_path / "m.npz"
    model = quantize(random_model([3, 2], ["softmax"]), random_rows(20, 3))
    original = as_bytes(model)
    harmless = 0
    for position in range(len(original)):
        for bit in range(8):
            damaged = bytearray(original)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                found = load(path)
            except ArtifactError:
                continue
            assert as_bytes(found) == original
            harmless += 1
    print(harmless, 8 * len(original))
    assert harmless < 8 * len(original) / 3  # times, attributes and checksums of the zip format, and alignment


def test_no_truncated_file_is_accepted(tmp_path):
    """Every prefix of an artifact is refused with the one documented error."""
    path = tmp_path / "m.npz"
    original = as_bytes(quantize(random_model([3, 2], ["softmax"]), random_rows(20, 3)))
    for length in range(len(original)):
        path.write_bytes(original[:length])
        with pytest.raises(ArtifactError, match=r"m\.npz: "):
            load(path)


def rewritten(tmp_path, change):
    """An artifact whose members were changed and whose digest was made right again."""
    members = dict(to_members(small_model()))
    text = bytes(members.pop("format")).partition(b"\n")[2]
    header = json.loads(text)
    change(header, members)
    from edge_runtime.artifact.artifact import _digest

    text = json.dumps(header).encode()
    line = f"smallnet 1 sha256={_digest(text, members)}\n".encode()
    path = tmp_path / "changed.npz"
    with open(path, "wb") as file:
        write_members(file, {"format": np.frombuffer(line + text, np.uint8), **members})
    return path


def set_in(*keys, value):
    """A change that sets header[keys...] = value."""

    def change(header, members):
        for key in keys[:-1]:
            header = header[key]
        header[keys[-1]] = value

    return change


def replace_member(name, make):
    """A change that replaces a member by make(member)."""

    def change(header, members):
        members[name] = make(members[name])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("layers", value=[]), "unknown members"),
        (set_in("layers", value=7), "'layers' in its header"),
        (set_in("layers", 0, "kind", value="int4"), "kind 'int4'"),
        (set_in("layers", 0, "activation", value="relou"), "relou"),
        (set_in("layers", 0, "input", value=None), "no input grid"),
        (set_in("layers", 0, "input", value=[1.0]), "1 values"),
        (set_in("layers", 0, "input", value=[-1.0, 0]), "scale is -1.0"),
        (set_in("layers", 0, "input", value=[10**400, 0]), "too large"),
        (set_in("layers", 0, "input", value=[1.0, 300]), "zero_point is 300"),
        (set_in("layers", 0, "input", value=[1.0, True]), "True"),
        (set_in("layers", 0, "name", value=3), "'name'"),
        (set_in("class_names", value=["a"]), "1 class names"),
        (set_in("metadata", value={"a": 1}), "must be Unicode text"),
        (set_in("metadata", value=None), "'metadata'"),
        (lambda header, members: members.pop("layer1.bias"), "'layer1.bias' is missing"),
        (lambda header, members: members.pop("input.mean"), "'input.mean' is missing"),
        (lambda header, members: members.update(extra=np.zeros(1, np.float32)), r"unknown members \['extra'\]"),
        (replace_member("layer0.weight", lambda w: w.astype(np.float32)), "expected int8"),
        (replace_member("layer0.weight", lambda w: w[:, :-1]), "shape"),
        (replace_member("layer0.multiplier", lambda m: m * np.float32("nan")), "NaN or inf"),
        (replace_member("test.inputs", lambda x: x[:-1]), "test vectors have shapes"),
    ],
)
def test_contents_that_do_not_fit_are_refused_even_with_a_right_digest(tmp_path, change, message):
    """A file made on purpose is checked like a damaged one: by name, with numbers."""
    with pytest.raises(ArtifactError, match=message):
        load(rewritten(tmp_path, change))


def test_another_version_is_named(tmp_path):
    """The version is checked before anything that may have changed with it."""
    members = to_members(small_model())
    content = bytes(members["format"]).replace(b"smallnet 1", b"smallnet 2")
    with pytest.raises(ArtifactError, match="format version 2, expected 1"):
        from_members({**members, "format": np.frombuffer(content, np.uint8)})


def test_a_file_over_the_limit_is_not_read(tmp_path):
    """The caller's limit is checked against the file's size, before anything is allocated."""
    save(small_model(), tmp_path / "m.npz")
    with pytest.raises(ArtifactError, match="over the limit of 100"):
        load(tmp_path / "m.npz", max_bytes=100)


def test_other_files_are_refused_by_name(tmp_path):
    """A text file, an empty one, and somebody else's .npz get the same type of answer."""
    text, empty, other, packed = (tmp_path / name for name in ("a.txt", "empty", "other.npz", "packed.npz"))
    text.write_text("hello")
    empty.write_bytes(b"")
    np.savez(other, a=np.zeros(3))
    np.savez_compressed(packed, a=np.zeros(3))
    for path in (text, empty, other, packed):
        for mmap in (False, True):
            with pytest.raises(ArtifactError, match=path.name):
                load(path, mmap=mmap)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.npz")


def test_what_no_reader_would_take_back_is_not_written(tmp_path):
    """From 2 GiB zip files state their sizes in another way: refused before anything is copied."""
    huge = np.broadcast_to(np.zeros(1, np.float32), (1 << 29, 1))
    with (tmp_path / "m.npz").open("wb") as file, pytest.raises(ArtifactError, match="expected at most 2,147,483,647"):
        write_members(file, {"huge": huge})
    assert (tmp_path / "m.npz").stat().st_size == 0


def with_header_of(size):
    """A model whose header, format line and JSON together, has `size` bytes."""
    model = replace(random_model([2, 2], ["linear"]), metadata={"text": ""})
    return replace(model, metadata={"text": "x" * (size - to_members(model)["format"].size)})


def test_a_header_of_a_mebibyte_is_saved_and_a_byte_more_is_refused(tmp_path):
    """Names and metadata: all that is written is read again; what is refused leaves no file behind."""
    model = with_header_of(1 << 20)
    assert to_members(model)["format"].size == 1 << 20
    save(model, tmp_path / "m.npz")
    assert load(tmp_path / "m.npz").metadata == model.metadata
    assert artifact_bytes(model) == (tmp_path / "m.npz").stat().st_size
    message = r"^2 arrays and 1,\d\d\d,\d\d\d bytes of names and metadata, expected less than 4,096 and 1,048,576: "
    for action in (lambda model: save(model, tmp_path / "n.npz"), save_bytes):
        with pytest.raises(ArtifactError, match=message):
            action(with_header_of((1 << 20) + 1))
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]


def test_as_many_layers_are_saved_as_are_read(tmp_path):
    """4,096 arrays with the header: 1,365 layers of three are read again, 2,048 layers of two are one too many."""
    layer = random_model([1, 1], ["linear"]).layers[0]
    dynamic = quantize(random_model([1, 1], ["linear"]), None, "int8-dynamic").layers[0]
    most = Model(tuple(replace(dynamic, name=f"d{index}") for index in range(1365)))
    save(most, tmp_path / "m.npz")
    assert len(load(tmp_path / "m.npz").layers) == 1365
    with pytest.raises(ArtifactError, match=r"^4,096 arrays and .* expected less than 4,096 and"):
        save(Model(tuple(replace(layer, name=f"d{index}") for index in range(2048))), tmp_path / "n.npz")
    assert not (tmp_path / "n.npz").exists()
