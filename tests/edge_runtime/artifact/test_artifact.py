import hashlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import (
    Activation,
    ArtifactError,
    DynamicQuantizedDense,
    Engine,
    Model,
    ModelError,
    QuantizedDense,
    QuantParams,
    TestVectors,
    load,
    save,
)
from edge_runtime.artifact.artifact import (
    artifact_bytes,
    from_members,
    load_bytes,
    save_bytes,
    to_members,
)
from edge_runtime.artifact.npz import read_members, write_members
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows, staged_model

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
    from edge_runtime.artifact.artifact import digest_of

    text = json.dumps(header).encode()
    line = f"smallnet 1 sha256={digest_of(text, members)}\n".encode()
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
        (set_in("layers", 0, "kind", value="int5"), "kind 'int5'"),
        (set_in("layers", 0, "activation", value="relou"), "relou"),
        (set_in("layers", 0, "input", value=None), "no input grid"),
        (set_in("layers", 0, "input", value=[1.0]), "1 values"),
        (set_in("layers", 0, "input", value=[-1.0, 0]), "scale is -1.0"),
        (set_in("layers", 0, "input", value=[10**400, 0]), "too large"),
        (set_in("layers", 0, "input", value=[1.0, 300]), "zero_point is 300"),
        (set_in("layers", 0, "input", value=[1.0, True]), "True"),
        (set_in("layers", 0, "input", value=[1.0, 3, 8]), "input' states 8 bits, expected a third value above 8 only"),
        (set_in("layers", 0, "n_in", value=7), r"layer 'dense0' in its header has unknown keys \['n_in'\]; install"),
        (set_in("layers", 1, "epsilon", value=1.0), r"layer 'dense1' in its header has unknown keys \['epsilon'\]"),
        (set_in("layers", 2, "output", value=None), r"layer 'dense2' in its header has unknown keys \['output'\]"),
        (set_in("layers", 2, "params", value={}), r"layer 'dense2' in its header has unknown keys \['params'\]"),
        (set_in("classes", value=[]), r"its header has unknown keys \['classes'\]; install the smallnet that wrote it"),
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
    content = bytes(members["format"]).replace(b"smallnet 1", b"smallnet 4")
    with pytest.raises(ArtifactError, match="format version 4, expected 1 to 3"):
        from_members({**members, "format": np.frombuffer(content, np.uint8)})


def of_version(version):
    """A model whose file needs that version: int8; int16 weights; int4 weights or codes of more than 8 bits."""
    rows = random_rows(20, 3)
    network = random_model([3, 2, 2], ["tanh", "linear"])
    if version != 2:
        return [quantize(network, rows, precision) for precision in {1: ["int8"], 3: ["int4", "int8-a16"]}[version]]
    layers = [replace(layer, weight=layer.weight.astype(np.int16) + 100) for layer in of_version(1)[0].layers]
    return [Model(tuple(layers)), staged_model([3, 2])]


@pytest.mark.parametrize("needed", [1, 2, 3])
@pytest.mark.parametrize("found", [1, 2, 3])
def test_a_version_line_that_save_would_not_write_is_refused(needed, found):
    """A reader of that version would take the file for what it is not; the digest does not cover the line."""
    for model in of_version(needed):
        members = dict(to_members(model))
        content = members["format"].tobytes().replace(b"smallnet %d" % needed, b"smallnet %d" % found)
        changed = {**members, "format": np.frombuffer(content, np.uint8)}
        if found == needed:
            assert from_members(changed).precision == model.precision
            continue
        with pytest.raises(ArtifactError, match=f"format version {found}, expected {needed} for what it holds"):
            from_members(changed)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
@pytest.mark.parametrize("is_dynamic", [False, True])
def test_weights_that_older_readers_do_not_know_make_another_version(tmp_path, dtype, is_dynamic):
    """int16 ones are version 2, which readers of version 1 refuse by its number; all else stays version 1."""
    weight, one = np.array([[3, -100], [120, 7]], dtype), np.ones(2, np.float32)
    if is_dynamic:
        layer = DynamicQuantizedDense("d", weight, one, one, Activation.of("linear"))
    else:
        layer = QuantizedDense("q", weight, np.zeros(2, np.int32), one, QuantParams(1.0, 3), None, "linear")
    save(Model((layer,)), tmp_path / "m.npz")
    assert load(tmp_path / "m.npz").layers[0].weight.dtype == dtype
    np.testing.assert_array_equal(load(tmp_path / "m.npz", mmap=True).layers[0].weight, weight)
    line = to_members(Model((layer,)))["format"].tobytes()[:18]
    assert line == (b"smallnet 2 sha256=" if dtype is np.int16 else b"smallnet 1 sha256=")
    assert artifact_bytes(Model((layer,))) == (tmp_path / "m.npz").stat().st_size


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


def test_bytes_and_files_are_the_same(tmp_path):
    """`save_bytes` gives what `save` writes, `load_bytes` reads what `load` does, and a refusal has the given name."""
    model = small_model()
    save(model, tmp_path / "m.npz")
    content = (tmp_path / "m.npz").read_bytes()
    assert save_bytes(model) == content
    assert artifact_bytes(model) == len(content)
    assert save_bytes(load_bytes(content)) == content
    for options, name in (({}, "artifact"), ({"name": "part 2"}, "part 2")):
        with pytest.raises(ArtifactError) as caught:
            load_bytes(content[:-1], **options)
        assert str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize("precision", [*PRECISIONS, "int8-dynamic"])
def test_parameters_of_activations_come_back(tmp_path, precision):
    """A slope other than the default, to the last bit."""
    slope = float(np.nextafter(0.3, 1))
    model = random_model([4, 3, 2], ["leaky_relu", "linear"])
    first = replace(model.layers[0], activation=Activation.of("leaky_relu", {"alpha": slope}))
    model = quantize(replace(model, layers=(first, model.layers[1])), random_rows(20, 4), precision)
    save(model, tmp_path / "m.npz")
    assert dict(load(tmp_path / "m.npz").layers[0].activation.params) == {"alpha": slope}
    assert as_bytes(load(tmp_path / "m.npz")) == as_bytes(model)


def in_header(text, wrong):
    return f"'{text}' in its header is {wrong!s:.60}, expected another type"


WORDS = {
    "layers": (set_in("layers", value=7), in_header("layers", "'7'")),
    "a layer": (set_in("layers", 0, value="x"), in_header("layers", "'x'")),
    "a name": (set_in("layers", 0, "name", value=3), in_header("name", "'3'")),
    "parameters": (set_in("layers", 0, "params", value=[1]), in_header("params", "'[1]'")),
    "a parameter": (set_in("layers", 1, "params", value={"alpha": "x"}), in_header("alpha", "'x'")),
    "a large parameter": (set_in("layers", 1, "params", value={"alpha": 10**400}), "'alpha' in its header is too large "
                          "for a float"),
    "an activation": (set_in("layers", 0, "activation", value=None), in_header("activation", "'None'")),
    "a kind": (set_in("layers", 0, "kind", value=8), "layer 'dense0' has kind 8, expected one of float32, float16, "
               "int8, int4, int8-dynamic, elementwise, layer_norm"),
    "another kind": (set_in("layers", 0, "kind", value="float16"), "'dense0.weight' has dtype int8, expected float16"),
    "no grid": (set_in("layers", 0, "input", value=None), "layer 'dense0' has no input grid"),
    "a grid": (set_in("layers", 0, "input", value=5), in_header("dense0.input", "'5'")),
    "long grid": (set_in("layers", 0, "input", value=[1, 2, 9, 4]), "'dense0.input' has 4 values, expected a scale, a "
                  "zero point and, above 8, the bits"),
    "a scale": (set_in("layers", 0, "input", value=["1", 2]), in_header("dense0.input", "'1'")),
    "a zero point": (set_in("layers", 0, "output", value=[1.0, 2.5]), in_header("dense0.output", "'2.5'")),
    "a last grid": (set_in("layers", 0, "table_output", value=[True, 0]), in_header("dense0.table_output", "'True'")),
    "class names": (set_in("class_names", value="abc"), in_header("class_names", "'abc'")),
    "a class name": (set_in("class_names", value=["a", 2, "c"]), in_header("class_names", "'2'")),
    "metadata": (set_in("metadata", value=[]), in_header("metadata", "'[]'")),
    "a missing array": (lambda header, members: members.pop("layer1.bias"), "member 'layer1.bias' is missing"),
    "half a preprocessing": (lambda header, members: members.pop("input.inv_std"), "member 'input.inv_std' is missing"),
    "the other half": (lambda header, members: members.pop("input.mean"), "member 'input.mean' is missing"),
    "inputs alone": (lambda header, members: members.pop("test.outputs"), "member 'test.outputs' is missing"),
    "outputs alone": (lambda header, members: members.pop("test.inputs"), "member 'test.inputs' is missing"),
    "a missing table": (lambda header, members: members.pop("layer0.table"), "member 'layer0.table' is missing"),
    "unknown": (lambda header, members: members.update(z=np.zeros(1), b=np.zeros(1)), "unknown members ['b', 'z']"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), WORDS.values(), ids=WORDS)
def test_each_refusal_says_what_was_found_and_where(tmp_path, change, words):
    """By the name that it has in the header; what to do is said where a newer export would help."""
    with pytest.raises(ArtifactError) as caught:
        load(rewritten(tmp_path, change))
    advice = "" if words.startswith(("'", "layer ")) else "; export the model again"
    assert str(caught.value) == f"{tmp_path / 'changed.npz'}: {words}{advice}"


def with_format(content, dtype=np.uint8):
    """The members of an artifact with another header."""
    return {**to_members(small_model()), "format": np.frombuffer(content, dtype)}


def said(members):
    with pytest.raises(ArtifactError) as caught:
        from_members(members)
    return str(caught.value)


def test_a_header_is_checked_from_its_first_word_on():
    """Place, dtype and axes; name, version and size; the digest; then what it says."""
    members = to_members(small_model())
    content = bytes(members["format"])
    no_format = "no 'format' member at its start, so this is not a smallnet artifact; make one with 'smallnet export'"
    last = {**{name: array for name, array in members.items() if name != "format"}, "format": members["format"]}
    for wrong in ({}, last, {**members, "format": members["format"].astype(np.int8)},
                  {**members, "format": members["format"][None]}):  # fmt: skip
        assert said(wrong) == no_format
    assert "--resume' goes on from it" in said({"checkpoint": members["format"], **members})
    for line in (b"smallnet 1", b"smallnet 1 sha256=x more", b"bignet 1 sha256=x", b"smallnet one sha256=x"):
        assert said(with_format(line + b"\n{}")) == (f"its format line is {line!r}, expected 'smallnet 1 sha256=...'")
    assert said(with_format(b"x" * 50)) == f"its format line is {b'x' * 40!r}, expected 'smallnet 1 sha256=...'"
    assert said(with_format(content.replace(b"smallnet 1", b"smallnet 123456789012345678901234"))) == (
        "format version 12345678901234567890, expected 1 to 3; install the smallnet that wrote it"
    )
    damaged = "the content does not match its SHA-256 digest, so the file is damaged; copy or export it again"
    assert said(with_format(content[:-1])) == damaged
    assert said({**members, "layer0.bias": members["layer0.bias"] + 1}) == damaged
    most = content + b" " * ((1 << 20) - len(content))
    assert said(with_format(most)) == damaged
    assert said(with_format(most + b" ")) == "its header has 1,048,577 bytes, expected at most 1,048,576"


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 100_000])
def test_a_header_that_is_no_json_is_refused(text):
    """With a right digest; also where it is nested so deeply that Python gives up."""
    line = f"smallnet 1 sha256={hashlib.sha256(text).hexdigest()}\n".encode()
    found = said({"format": np.frombuffer(line + text, np.uint8)})
    assert found.startswith("its header is not JSON (")
    line = f"smallnet 1 sha256={hashlib.sha256(b'[]').hexdigest()}\n".encode()
    assert said({"format": np.frombuffer(line + b"[]", np.uint8)}) == in_header("header", "'[]'")


@pytest.mark.parametrize("change", [{"k": 3}, {4: "v"}, {"k": None}, {"k": "\ud800"}])
def test_metadata_that_were_written_to_are_checked_before_a_file_is_made(tmp_path, change):
    """A dictionary can be changed: what could not be loaded is not saved, and the file that stands there stays."""
    model = random_model([3, 2], ["relu"])
    save(model, tmp_path / "m.npz")
    model.metadata.update(change)
    with pytest.raises(ModelError, match="etadata must be Unicode text, found"):
        save(model, tmp_path / "m.npz")
    with pytest.raises(ModelError, match="etadata must be Unicode text, found"):
        save_bytes(model)
    assert load(tmp_path / "m.npz").metadata == {}
