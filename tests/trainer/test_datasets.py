import gzip
import io
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import InputError
from trainer.datasets import BUNDLED, Dataset, files_of, load_dataset, split

X = np.arange(12, dtype=np.uint8).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


def save(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def idx(array: np.ndarray, code: int = 0x08) -> bytes:
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist_folder(folder, names="{part}-{role}-idx{ndim}-ubyte", pack=bytes):
    """Four train and two test images of 2x3 pixels; labels 3, 5, 3, 5 and 5, 3."""
    folder.mkdir()
    pixels = np.arange(36, dtype=np.uint8).reshape(6, 2, 3) * 7
    labels = np.array([3, 5, 3, 5, 5, 3], np.uint8)
    for part, rows in (("train", slice(0, 4)), ("t10k", slice(4, 6))):
        write(folder / names.format(part=part, role="images", ndim=3), pack(idx(pixels[rows])))
        write(folder / names.format(part=part, role="labels", ndim=1), pack(idx(labels[rows])))
    return folder


# --- the bundled set ------------------------------------------------------------------------------------------------


def test_bundled_digits_are_whole_and_say_where_they_come_from():
    """1,797 images of 64 raw values 0 to 16, ten named classes, the source with its licence, in under 50 kB."""
    digits = load_dataset("digits")
    assert digits.x.shape == (1797, 64)
    assert digits.x.dtype == np.float32
    assert (digits.x.min(), digits.x.max()) == (0, 16)
    assert digits.y.dtype == np.int64
    assert digits.class_names == tuple("0123456789")
    assert (digits.name, digits.n_in, digits.n_out, len(digits)) == ("digits", 64, 10, 1797)
    assert "UCI Machine Learning Repository" in digits.source
    assert "CC BY 4.0" in digits.source
    assert BUNDLED["digits"].stat().st_size < 50_000


def test_bundled_digits_equal_those_of_scikit_learn():
    """Every pixel and label is the one that scikit-learn ships."""
    reference = pytest.importorskip("sklearn.datasets").load_digits()
    digits = load_dataset("digits")
    np.testing.assert_array_equal(digits.x, reference.data)
    np.testing.assert_array_equal(digits.y, reference.target)


# --- .npz -----------------------------------------------------------------------------------------------------------


def test_npz_labels_become_class_indices_and_names(tmp_path):
    """Distinct labels, contiguous or not, negative or not, are classes named by their number, sorted as numbers."""
    data = load_dataset(save(tmp_path / "d.npz", x=X, y=np.array([10, -1, 9, 10, 9, -1])))
    assert data.class_names == ("-1", "9", "10")
    assert data.y.tolist() == [2, 0, 1, 2, 1, 0]
    assert data.x.tolist() == X.tolist()
    assert data.x.dtype == np.float32
    assert not data.x.flags.writeable
    assert not data.y.flags.writeable


def test_npz_names_text_labels_and_whole_floats(tmp_path):
    """class_names name the indices; text labels are classes by sorted name; floats that are whole are classes."""
    named = load_dataset(save(tmp_path / "a.npz", x=X, y=Y, class_names=np.array(["c", "a", "b"])))
    assert named.class_names == ("c", "a", "b")
    assert named.y.tolist() == Y.tolist()
    text = load_dataset(save(tmp_path / "b.npz", x=X, y=np.array(["cat", "ant", "cat", "ant", "ant", "cat"])))
    assert text.class_names == ("ant", "cat")
    assert text.y.tolist() == [1, 0, 1, 0, 0, 1]
    assert load_dataset(save(tmp_path / "c.npz", x=X, y=Y.astype(np.float32))).class_names == ("0", "1", "2")
    assert load_dataset(save(tmp_path / "d.npz", x=X, y=Y[:, np.newaxis] > 0)).class_names == ("0", "1")


def test_regression_targets_are_float32_columns(tmp_path):
    """Labels with a fraction, or several a row, are regression under auto; whole numbers are where asked for."""
    data = load_dataset(save(tmp_path / "a.npz", x=X, y=Y + 0.5))
    assert data.y.dtype == np.float32
    assert data.y.shape == (6, 1)
    assert data.class_names == ()
    assert not data.is_classification
    assert load_dataset(save(tmp_path / "b.npz", x=X, y=np.stack([Y, Y], 1))).n_out == 2
    assert load_dataset(save(tmp_path / "c.npz", x=X, y=Y), target="regression").y[:, 0].tolist() == Y.tolist()


def test_an_autoencoder_learns_its_input(tmp_path):
    """y is x; no labels are needed; images are flattened; every column of a CSV is a feature."""
    data = load_dataset(save(tmp_path / "a.npz", x=np.arange(24.0).reshape(2, 3, 4)), target="autoencoder")
    assert data.y.shape == (2, 12)
    np.testing.assert_array_equal(data.x, data.y)
    assert load_dataset(write(tmp_path / "a.csv", "1,2,3\n4,5,6\n"), target="autoencoder").n_out == 3
    assert load_dataset("digits", target="autoencoder").n_out == 64
    folder = load_dataset(mnist_folder(tmp_path / "idx"), target="autoencoder")
    assert folder.test is not None
    assert (folder.y.shape, folder.test.y.shape) == ((4, 6), (2, 6))


def test_feature_names_and_one_column_of_x(tmp_path):
    """feature_names are kept; x of shape (n,) is one feature."""
    data = load_dataset(save(tmp_path / "a.npz", x=X, y=Y, feature_names=np.array(["u", "v"])))
    assert data.feature_names == ("u", "v")
    assert load_dataset(save(tmp_path / "b.npz", x=X[:, 0], y=Y)).x.shape == (6, 1)


NAN = X.astype(float)
NAN[4, 1] = np.nan
BAD_NPZ = {
    "no y": ({"x": X}, r"no array 'y' in it \(found: x\.npy\); save it with np\.savez"),
    "no x": ({"rows": X, "y": Y}, "no array 'x'"),
    "lengths": ({"x": X, "y": Y[:5]}, r"x has 6 rows, but y has shape \(5,\); give one label a row"),
    "scalar y": ({"x": X, "y": np.array(3)}, "x has 6 rows, but y has shape"),
    "empty": ({"x": X[:0], "y": Y[:0]}, "expected at least one row"),
    "nan": ({"x": NAN, "y": Y}, r"row 4, column 1 \(counted from 0\): nan is not a finite number"),
    "inf": ({"x": np.full((6, 2), -np.inf), "y": Y}, "row 0, column 0.*: -inf is not"),
    "text x": ({"x": np.full((6, 2), "a"), "y": Y}, "expected bools, integers or floats"),
    "complex x": ({"x": X * 1j, "y": Y}, "complex|c16"),
    "object y": ({"x": X, "y": np.array([None] * 6)}, "pickles, which can run code"),
    "one class": ({"x": X, "y": Y * 0}, "every row has the same label, expected at least two classes"),
    "one text": ({"x": X, "y": np.array(["a"] * 6)}, "expected at least two classes"),
    "a name a row": (
        {"x": np.ones((600, 1)), "y": np.array([f"id{i}" for i in range(600)])},
        "expected the label in the last column .*, or ask for regression",
    ),
    "targets beyond memory": (
        {"x": np.ones((300_000, 1)), "y": np.arange(300_000) % 1000, "class_names": np.arange(1000).astype(str)},
        "300,000 rows x 1,000 classes, expected 268,435,456 at most",
    ),
    "nan label": ({"x": X, "y": np.where(Y == 2, np.nan, Y)}, r"row 2 .*label nan is not a whole number"),
    "inf target": ({"x": X, "y": np.where(Y == 2, np.inf, 0.5)}, r"row 2 .*NaN, inf or beyond"),
    "empty label": ({"x": X, "y": np.array(["a", "", "b", "a", "b", "a"])}, "row 1 .*label is missing"),
    "out of range": (
        {"x": X, "y": Y, "class_names": np.array(["a", "b"])},
        r"row 2 .*label 2 is out of range, .*0 to 1",
    ),
    "negative": ({"x": X, "y": Y - 1, "class_names": np.array(["a", "b", "c"])}, r"row 0 .*label -1 is out of range"),
    "unknown": ({"x": X, "y": Y.astype(str), "class_names": np.array(["0", "1"])}, "row 2 .*'2' is not in class_names"),
    "huge label": ({"x": X, "y": np.array([0, 1, 2**64 - 1] * 2, np.uint64)}, "18446744073709551615"),
    "names twice": ({"x": X, "y": Y, "class_names": np.array(["a", "b", "a"])}, "'a' appears twice"),
    "names of bytes": ({"x": X, "y": Y, "class_names": np.array([b"a", b"b", b"c"])}, "class_names.*expected"),
    "names of numbers": ({"x": X, "y": Y, "class_names": np.arange(3)}, "expected fixed-width unicode"),
    "unprintable name": ({"x": X, "y": Y, "class_names": np.array(["a", "b", "\x1b[31m"])}, "printable characters"),
    "features": ({"x": X, "y": Y, "feature_names": np.array(["a"])}, "1 feature_names for 2 columns"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_NPZ.values(), ids=BAD_NPZ)
def test_bad_npz_data_is_one_clear_line(tmp_path, arrays, message):
    """Whatever is wrong in the arrays is an InputError that names the array or the row, with no warning beside it."""
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(save(tmp_path / "d.npz", **arrays))
    assert str(caught.value).isprintable()


def test_targets_that_the_labels_cannot_be_are_refused(tmp_path):
    """Fractions are no classes, text is no regression target, and there are four targets."""
    with pytest.raises(InputError, match=r"row 0 .*label 0\.5 is not a whole number"):
        load_dataset(save(tmp_path / "a.npz", x=X, y=Y + 0.5), target="class")
    with pytest.raises(InputError, match=r"row 0 .*'cat' is not a number"):
        load_dataset(save(tmp_path / "b.npz", x=X, y=np.array(["cat", "ant"] * 3)), target="regression")
    with pytest.raises(InputError, match="expected one class a row"):
        load_dataset(save(tmp_path / "c.npz", x=X, y=np.stack([Y, Y], 1)), target="class")
    with pytest.raises(InputError, match="target 'best'"):
        load_dataset("digits", target="best")


def test_specs_that_are_nothing(tmp_path):
    """An unknown name says what can be given; a missing file is an OSError."""
    with pytest.raises(InputError, match=r"no such file or folder; expected the name of a bundled set \(digits\)"):
        load_dataset("digitz")
    with pytest.raises(InputError, match="no such file"):
        load_dataset("a\0b")
    with pytest.raises(InputError, match="unknown data; expected"):
        load_dataset(write(tmp_path / "x.json", "{}"))
    for name in ("none.npz", "none.csv"):
        with pytest.raises(FileNotFoundError):
            load_dataset(tmp_path / name)
    with pytest.raises(InputError, match="no IDX files in it, expected train-images-idx3-ubyte"):
        load_dataset(tmp_path)


# --- CSV ------------------------------------------------------------------------------------------------------------


def test_csv_labels_in_the_last_column(tmp_path):
    """Whole numbers are classes by number, texts classes by name, fractions regression; a header names features."""
    whole = load_dataset(write(tmp_path / "a.csv", "1,2,10\n3,4,9\n5,6,10\n"))
    assert (whole.class_names, whole.y.tolist(), whole.feature_names) == (("9", "10"), [1, 0, 1], ())
    text = load_dataset(write(tmp_path / "b.csv", "u,v,kind\n1,2,cat\n3,4,ant\n5,6, cat\n"))
    assert (text.class_names, text.y.tolist(), text.feature_names) == (("ant", "cat"), [1, 0, 1], ("u", "v"))
    assert text.x.tolist() == [[1, 2], [3, 4], [5, 6]]
    real = load_dataset(write(tmp_path / "c.csv", "u;v;t\n1;2;0.5\n3;4;2\n"))
    assert (real.class_names, real.y.tolist()) == ((), [[0.5], [2.0]])
    assert load_dataset(write(tmp_path / "d.csv", "1,1.0\n2,2.0\n")).class_names == ("1", "2")
    assert load_dataset(write(tmp_path / "e.csv", "1,3\n2,4\n"), target="regression").y.tolist() == [[3], [4]]


BAD_CSV = {
    "": "no rows",
    "u,v,kind\n": "only a header",
    "7,2,a\n3,4,\n": "row 2: the label, column 3, has no value there",
    "7,2,0\n\n3,4,nan\n": "row 3: the label, column 3, has no value there",
    "7,2,a\n3,4\n": "row 2 has 2 columns, expected 3",
    "7,2,a\n3,x,b\n5,6,b\n": "row 2, column 2: 'x' is not a number",
    "7,2,a\n3,inf,b\n": "row 2, column 'column 2': inf is not a finite number",
    "7,2,a\n3,4,a\n": "the label, 'column 3': every row has the same label",
    "7,2,0\n3,4,1e400\n": "row 2: label inf is not a whole number",
    "7,2,0.5\n3,4,1e39\n": "row 2: the label is NaN, inf or beyond",
    "7\n2\n": "1 column, .*expected features and, in the last column, a label",
    "7,2,a\n3,4,\x1b[0m\n": "name .* expected 1 to 256 printable characters",
    "7,2,a\n3,4," + "b" * 300 + "\n": "name .* expected 1 to 256 printable characters",
    "u,u,kind\n1,2,a\n3,4,b\n": "the header: name 'u' appears twice",
}


@pytest.mark.parametrize(("text", "message"), BAD_CSV.items(), ids=range(len(BAD_CSV)))
def test_bad_csv_data_is_one_clear_line(tmp_path, text, message):
    """Whatever is wrong is an InputError that names the row (its line, from 1), and the column where it can."""
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(write(tmp_path / "d.csv", text))
    assert str(caught.value).isprintable()


# --- IDX ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    ["{part}-{role}-idx{ndim}-ubyte", "{part}-{role}.idx{ndim}-ubyte", "emnist-x-{part}-{role}-idx{ndim}-ubyte"],
)
@pytest.mark.parametrize(("ending", "pack"), [("", bytes), (".gz", gzip.compress)])
def test_idx_folders_read_as_published(tmp_path, names, ending, pack):
    """Dashes or dots, plain or gzipped: images are flattened, 0..255 unscaled, the given test part stays the test."""
    data = load_dataset(mnist_folder(tmp_path / "set", names + ending, pack))
    assert data.x.shape == (4, 6)
    assert data.x[3].tolist() == [126, 133, 140, 147, 154, 161]
    assert data.class_names == ("3", "5")
    assert data.y.tolist() == [0, 1, 0, 1]
    assert data.name == "set"
    parts = split(data, validation=0.25)
    assert (len(parts.train), len(parts.validation), parts.test.y.tolist()) == (3, 1, [1, 0])
    assert parts.test.class_names == ("3", "5")


def test_a_folder_with_one_part_is_split_like_any_data(tmp_path):
    """With train files only, the test is cut from them; with t10k files only, those are the data."""
    for part in ("t10k", "train"):
        folder = mnist_folder(tmp_path / part)
        for path in folder.glob(f"{part}*"):
            path.unlink()
        data = load_dataset(folder)
        assert data.test is None
        assert len(data) == (4 if part == "t10k" else 2)


@pytest.mark.parametrize(("code", "dtype"), [(0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_every_idx_type_is_read(tmp_path, code, dtype):
    """Signed, wide and floating IDX images keep their values."""
    folder = mnist_folder(tmp_path / "set")
    images = np.linspace(-100, 100, 24).reshape(4, 2, 3).astype(dtype)
    write(folder / "train-images-idx3-ubyte", idx(images, code))
    np.testing.assert_array_equal(load_dataset(folder).x, images.reshape(4, 6).astype(np.float32))


IMAGES = idx(np.zeros((4, 2, 3), np.uint8))
BAD_IMAGES = {
    "empty": (b"", "starts with nothing, so it is not an IDX file"),
    "not idx": (b"\x89PNG" + bytes(40), "starts with 89 50 4e 47, so it is not an IDX file"),
    "unknown type": (b"\0\0\x0a\x03" + IMAGES[4:], "so it is not an IDX file"),
    "no axes": (b"\0\0\x08\x00" + IMAGES[4:], "so it is not an IDX file"),
    "200 axes": (b"\0\0\x08\xc8" + IMAGES[4:], "so it is not an IDX file"),
    "header cut off": (IMAGES[:9], "ends after 9 bytes, inside its header"),
    "byte short": (IMAGES[:-1], "which is 24 bytes, but 23 bytes follow"),
    "byte more": (IMAGES + b"\0", "but more than that follows"),
    "2**96": (b"\0\0\x08\x03" + b"\xff" * 12 + bytes(24), "declares"),
    "no rows": (idx(np.zeros((0, 2, 3), np.uint8)), "which is empty"),
    "other length": (idx(np.zeros((3, 2, 3), np.uint8)), r"images \(3, 2, 3\) and labels \(4,\)"),
    "other size": (idx(np.zeros((4, 2, 2), np.uint8)), "train images have 4 pixels, test images 6"),
    "flat": (idx(np.zeros(4, np.uint8)), r"expected \(n, h, w\) and \(n,\)"),
    "nan": (idx(np.full((4, 2, 3), np.nan, ">f4"), 0x0D), "row 0, column 0"),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize(("content", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_idx_files_that_lie_are_refused(tmp_path, content, message, pack):
    """Magic, type and sizes are compared with the bytes that are there, in plain and in gzipped files."""
    folder = mnist_folder(tmp_path / "set")
    write(folder / "train-images-idx3-ubyte", pack(content))
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(folder)
    assert str(caught.value).isprintable()


def test_damaged_and_bloated_gzip_files_are_refused(tmp_path):
    """A truncated or altered .gz is damaged; 50 MB in 50 kB are not unpacked where header or limit say less."""
    folder = mnist_folder(tmp_path / "set")
    packed = gzip.compress(IMAGES)
    for damaged in (packed[:-1], packed[:20], packed[:2], packed[:-6] + b"\0" + packed[-5:], packed + b"junk"):
        write(folder / "train-images-idx3-ubyte", damaged)
        with pytest.raises(InputError, match="damaged gzip data"):
            load_dataset(folder)
    write(folder / "train-images-idx3-ubyte", gzip.compress(IMAGES + bytes(50_000_000)))
    with pytest.raises(InputError, match=r"more than that follows \(25 bytes or more\)"):
        load_dataset(folder)
    write(folder / "train-images-idx3-ubyte", gzip.compress(idx(np.zeros((50, 1000, 1000), np.uint8))))
    with pytest.raises(InputError, match=r"declares 50,000,016 bytes, over the limit of 1,000,000"):
        load_dataset(folder, max_bytes=1_000_000)


def test_folders_that_are_incomplete_or_ambiguous_are_refused(tmp_path):
    """Images without labels, and two data sets in one folder, are named; one label only is no classification."""
    folder = mnist_folder(tmp_path / "a")
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="no labels file beside the other of 'train'"):
        load_dataset(folder)
    folder = mnist_folder(tmp_path / "b")
    write(folder / "emnist-train-images-idx3-ubyte", IMAGES)
    with pytest.raises(InputError, match="several data sets"):
        load_dataset(folder)
    folder = mnist_folder(tmp_path / "c")
    for name, count in (("train", 4), ("t10k", 2)):
        write(folder / f"{name}-labels-idx1-ubyte", idx(np.zeros(count, np.uint8)))
    with pytest.raises(InputError, match="every row has the same label"):
        load_dataset(folder)


# --- hostile bytes --------------------------------------------------------------------------------------------------


def seeds() -> list[bytes]:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=X, y=Y, class_names=np.array(["a", "b", "c"]))
    return [buffer.getvalue(), b"u,v,kind\n1,2,cat\n3,4,ant\n", IMAGES, gzip.compress(IMAGES)]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(seeds()), st.integers(0, 999), st.binary(max_size=8), st.integers(0, 8), st.binary(max_size=80))
def test_any_bytes_are_data_or_one_error(tmp_path_factory, content, place, patch, removed, noise):
    """Damaged files and random bytes, as any kind of data, give a data set or one printable InputError."""
    base = tmp_path_factory.getbasetemp()
    folder = base / "idx" if (base / "idx").exists() else mnist_folder(base / "idx")
    place %= len(content)
    for data in (content[:place] + patch + content[place + removed :], noise):
        specs = [write(base / "d.npz", data), write(base / "d.csv", data)]
        write(folder / "train-images-idx3-ubyte", data)
        for spec in [*specs, folder]:
            message = ""
            try:
                load_dataset(spec, max_bytes=1 << 20)
            except InputError as error:
                message = str(error)
            assert not message or message.isprintable()


# --- splitting ------------------------------------------------------------------------------------------------------


def numbered(count: int, classes: int) -> Dataset:
    """Rows that carry their own number, with labels of uneven frequency."""
    labels = np.random.default_rng(1).integers(0, classes, count) ** 2 // classes
    return Dataset(
        np.arange(count, dtype=np.float32)[:, np.newaxis], labels.astype(np.int64), tuple("abcdefghij"[:classes])
    )


@pytest.mark.parametrize("seed", range(20))
def test_each_row_is_in_exactly_one_part_and_classes_keep_their_shares(seed):
    """Nothing is lost or twice; sizes are exact; each class has its share in each part to within two rows."""
    data = numbered(503, 7)
    parts = split(data, test=0.2, validation=0.1, seed=seed)
    rows = [part.x[:, 0].astype(int) for part in (parts.train, parts.validation, parts.test)]
    assert sorted(np.concatenate(rows)) == list(range(503))
    assert [len(part) for part in rows] == [352, 50, 101]
    for part, share in zip((parts.train, parts.validation, parts.test), (0.7, 0.1, 0.2), strict=True):
        np.testing.assert_array_equal(part.y, data.y[part.x[:, 0].astype(int)])
        expected = np.bincount(data.y, minlength=7) * share
        assert np.abs(np.bincount(part.y, minlength=7) - expected).max() <= 2
        assert part.class_names == data.class_names


GOLDEN = [6.0, 14.0, 8.0, 7.0]


def test_the_split_is_decided_by_the_seed_alone():
    """The same seed gives the same rows, on every NumPy version (these were written down); another seed others."""
    data = numbered(20, 3)
    assert split(data, seed=7).test.x[:, 0].tolist() == split(data, seed=7).test.x[:, 0].tolist() == GOLDEN
    assert split(data, seed=8).test.x[:, 0].tolist() != GOLDEN


def test_regression_rows_are_split_too():
    """Without classes the rows are simply shuffled and cut."""
    data = Dataset(np.arange(10, dtype=np.float32)[:, np.newaxis], np.zeros((10, 2), np.float32))
    parts = split(data, test=0.3, validation=0.2)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (5, 2, 3)


def test_a_share_of_nothing_is_a_part_without_rows():
    """validation=0 gives an empty part; a tiny share gives at least one row."""
    assert len(split(numbered(10, 3), validation=0).validation) == 0
    assert len(split(numbered(10, 3), validation=0.001).validation) == 1


@pytest.mark.parametrize(
    "shares", [{"test": -0.1}, {"test": 1}, {"test": 0.6, "validation": 0.4}, {"test": float("nan")}]
)
def test_shares_seeds_and_sizes_that_make_no_sense_are_refused(shares):
    """Shares outside 0..1 or adding up to all rows, a negative seed and too few rows are InputErrors."""
    with pytest.raises(InputError, match="together below 1"):
        split(numbered(10, 3), **shares)
    with pytest.raises(InputError, match="seed -1"):
        split(numbered(10, 3), seed=-1)
    with pytest.raises(InputError, match="2 rows are too few"):
        split(numbered(2, 2))


def test_a_dataset_checks_that_its_parts_fit():
    """Shapes, dtypes and lengths that do not fit together are refused when a Dataset is made."""
    data = numbered(10, 3)
    for wrong in ({"x": data.x.astype(float)}, {"x": data.x[:, 0]}, {"y": data.y.astype(np.int32)}, {"y": data.y[:9]}):
        with pytest.raises(InputError):
            replace(data, **wrong)


@pytest.mark.skipif(os.name != "posix", reason="pipes with names are POSIX")
def test_pipes_in_an_idx_folder_and_as_data_are_refused(tmp_path):
    """Nobody writes to them, so that reading one would never end; a folder of an IDX file's name is an OSError."""
    mnist_folder(tmp_path / "pipes")
    images = tmp_path / "pipes" / "train-images-idx3-ubyte"
    images.unlink()
    os.mkfifo(images)
    os.mkfifo(tmp_path / "rows.csv")
    os.mkfifo(tmp_path / "rows.npz")
    for spec in ("pipes", "rows.csv", "rows.npz"):
        with pytest.raises(InputError, match="a pipe, socket or device, expected a regular file"):
            load_dataset(tmp_path / spec)
    images.unlink()
    images.mkdir()
    with pytest.raises(IsADirectoryError):
        load_dataset(tmp_path / "pipes")


def test_labels_of_every_width_are_classes(tmp_path):
    """float16 labels too, whose range ends far below the largest whole number that float64 holds."""
    for dtype in ("f2", "f4", "f8", ">f2", "i1", "u8"):
        data = load_dataset(save(tmp_path / "d.npz", x=X, y=Y.astype(dtype)))
        np.testing.assert_array_equal(data.y, Y)
    with pytest.raises(InputError, match="not a whole number"):
        load_dataset(save(tmp_path / "d.npz", x=X, y=np.where(Y == 1, np.inf, Y).astype("f2")))


def test_the_files_of_a_spec_are_those_that_reading_it_opens(tmp_path, monkeypatch):
    """A file, the bundled one, or the IDX files of a folder and nothing else in it."""
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 2), np.float32), y=np.arange(4) % 2)
    assert files_of(tmp_path / "d.npz") == [tmp_path / "d.npz"]
    assert files_of("digits")[0].read_bytes()[:2] == b"PK"
    assert files_of("absent.npz") == [Path("absent.npz")]
    folder = tmp_path / "idx"
    folder.mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz", "model.npz"):
        (folder / name).write_bytes(b"")
    assert [path.name for path in files_of(folder)] == ["train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"]
