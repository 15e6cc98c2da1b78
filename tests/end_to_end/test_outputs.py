"""Output files: what stands there is replaced only by its like, and what cannot be written is refused at once."""

import errno
import gzip
import itertools
import os
import shutil
import stat
import struct
import subprocess
import sys

import numpy as np
import onnx
import pytest

from edge_runtime.files.atomic import is_temporary
from export.commands import verified_pair
from tests.command import run_command

FOREIGN = {
    "someone's photos": b"PK\x03\x04" + bytes(26) + b"photo.jpg" + bytes(100),
    "a text": b"dear diary,\n\0",
    "an array": b"\x93NUMPY\x01\0",
    "a program": b"\x7fELF" + bytes(200),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained network, its int8 files, a checkpoint and rows."""
    folder = tmp_path_factory.mktemp("trained")
    done = run_command(
        "train", "--hidden", "6", "--epochs", "1", "--out", folder / "m.npz", "--checkpoint", folder / "c"
    )
    assert done.exit_code == 0
    assert run_command("export", folder / "m.npz", "--calibrate", "digits", "--out", folder).exit_code == 0
    assert run_command("export", folder / "m.npz", "--precision", "float32", "--out", folder).exit_code == 0
    np.save(folder / "x.npy", np.ones((2, 64), np.float32))
    np.savetxt(folder / "x.csv", np.ones((2, 64)), delimiter=",")
    return folder


# command: its arguments and the file it writes; {m} is the folder of `trained`
WRITERS = {
    "train": (["train", "--epochs", "1", "--hidden", "3", "--out", "t.npz"], "t.npz"),
    "checkpoint": (["train", "--epochs", "1", "--hidden", "3", "--out", "o.npz", "--checkpoint", "t.npz"], "t.npz"),
    "export": (["export", "{m}/m.npz", "--calibrate", "digits", "--out", "."], "m.int8.npz"),
    "export onnx": (["export", "{m}/m.npz", "--calibrate", "digits", "--out", "."], "m.int8.onnx"),
    "import": (["import", "{m}/m.int8.onnx", "--out", "i.npz"], "i.npz"),
    "bundle": (["bundle", "{m}/m.int8.npz", "-o", "app.pyz"], "app.pyz"),
    "run to npy": (["run", "{m}/m.npz", "--input", "{m}/x.npy", "--output", "y.npy"], "y.npy"),
    "run to csv": (["run", "{m}/m.npz", "--input", "{m}/x.npy", "--output", "y.csv"], "y.csv"),
}


def run(name, trained, *more):
    arguments, out = WRITERS[name]
    return run_command(*(argument.replace("{m}", str(trained)) for argument in arguments), *more), out


def is_one_line(result) -> bool:
    return result.stdout == "" and result.stderr.startswith("error: ") and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", WRITERS)
def test_only_the_same_kind_is_replaced_without_force(name, trained, tmp_path, monkeypatch):
    """A second run replaces the first one's file; anything else stays, in one line, unless --force is given."""
    monkeypatch.chdir(tmp_path)
    assert run(name, trained)[0].exit_code == 0
    assert run(name, trained)[0].exit_code == 0
    path = tmp_path / WRITERS[name][1]
    written = path.read_bytes()
    for what, content in FOREIGN.items():
        if (name, what) == ("run to npy", "an array"):
            continue  # its own kind
        path.write_bytes(content)
        result, out = run(name, trained)
        assert result.exit_code == 2, what
        assert is_one_line(result)
        assert out in result.stderr
        assert "add --force to replace it" in result.stderr
        assert path.read_bytes() == content
    assert run(name, trained, "--force")[0].exit_code == 0
    assert path.read_bytes() == written


def test_a_model_is_not_replaced_by_a_checkpoint_nor_the_other_way_round(trained, tmp_path):
    """Both are .npz files of this project, and each is somebody's work."""
    for source, option in (("m.npz", "--checkpoint"), ("c", "--out")):
        shutil.copy(trained / source, tmp_path / "kept.npz")
        more = [] if option == "--out" else ["--out", tmp_path / "other.npz"]
        result = run_command("train", "--epochs", "1", option, tmp_path / "kept.npz", *more)
        assert result.exit_code == 2
        assert "add --force to replace it" in result.stderr
        assert (tmp_path / "kept.npz").read_bytes() == (trained / source).read_bytes()


def test_the_demo_replaces_its_own_files_only(trained, tmp_path):
    """A file of another kind in its folder stops it before the training."""
    (tmp_path / "digits.int8.onnx").write_bytes(b"mine")
    result = run_command("demo", "--out", tmp_path)
    assert result.exit_code == 2
    assert is_one_line(result)
    assert [path.name for path in tmp_path.iterdir()] == ["digits.int8.onnx"]


REFUSED = {
    "train: empty": ["train", "--out", ""],
    "train: a folder": ["train", "--out", "."],
    "train: a folder by its slash": ["train", "--out", "model/"],
    "train: no such folder": ["train", "--out", "nowhere/m.npz"],
    "train: a file for a folder": ["train", "--out", "{m}/m.npz/x.npz"],
    "train: an empty checkpoint": ["train", "--out", "m.npz", "--checkpoint", ""],
    "train: a folder as checkpoint": ["train", "--out", "m.npz", "--checkpoint", "."],
    "train: over the data": ["train", "--data", "data.npz", "--out", "data.npz", "--force"],
    "export: empty": ["export", "{m}/m.npz", "--calibrate", "digits", "--out", ""],
    "export: into a file": ["export", "{m}/m.npz", "--calibrate", "digits", "--out", "data.npz"],
    "export: below a file": ["export", "{m}/m.npz", "--calibrate", "digits", "--out", "data.npz/deep"],
    "export: an unknown method": ["export", "{m}/m.npz", "--calibrate", "digits", "--out", "new", "--method", "x"],
    "export: no data": ["export", "{m}/m.npz", "--out", "new", "--precision", "auto", "--max-drop", "1"],
    "export: an opset of the future": ["export", "{m}/m.npz", "--calibrate", "digits", "--out", "new", "--opset", "99"],
    "export: an unknown form": ["export", "{m}/m.npz", "--calibrate", "digits", "--out", "new", "--form", "x"],
    "export: what is int8": ["export", "{m}/m.int8.npz", "--precision", "float16", "--calibrate", "digits"],
    "import: empty": ["import", "{m}/m.int8.onnx", "--out", ""],
    "import: a folder": ["import", "{m}/m.int8.onnx", "--out", "folder.npz"],
    "bundle: empty": ["bundle", "{m}/m.int8.npz", "-o", ""],
    "bundle: a folder": ["bundle", "{m}/m.int8.npz", "-o", "."],
    "bundle: over the model": ["bundle", "model.npz", "-o", "model.npz", "--force"],
    "run: empty": ["run", "{m}/m.npz", "--input", "{m}/x.npy", "--output", ""],
    "run: a folder": ["run", "{m}/m.npz", "--input", "{m}/x.npy", "--output", "."],
    "run: an unknown kind": ["run", "{m}/m.npz", "--input", "{m}/x.npy", "--output", "y.txt"],
    "run: over its input": ["run", "{m}/m.npz", "--input", "x.csv", "--output", "x.csv", "--force"],
    "demo: empty": ["demo", "--out", ""],
    "demo: into a file": ["demo", "--out", "data.npz"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_is_refused_before_the_work_and_leaves_nothing(name, trained, tmp_path, monkeypatch):
    """One line, status 2, no work was done (no row of data was read, no epoch printed), no file or folder appears."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(40, 3)), y=np.arange(40) % 2)
    shutil.copy(trained / "x.csv", tmp_path / "x.csv")
    shutil.copy(trained / "m.int8.npz", tmp_path / "model.npz")
    (tmp_path / "folder.npz").mkdir()
    before = {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}
    result = run_command(*(argument.replace("{m}", str(trained)) for argument in REFUSED[name]))
    assert result.exit_code == 2, result.output
    assert is_one_line(result), result.stderr
    assert {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")} == before


def test_an_opset_that_onnxruntime_cannot_run_is_refused_by_name(trained, tmp_path, monkeypatch):
    """onnx may write newer opsets than onnxruntime runs: then the newest that it runs is named, and nothing written."""
    import export.verification.supported_opset as supported_opset

    def refuse_from_20(proto):
        if proto.opset_import[0].version >= 20:
            raise supported_opset.ArtifactError("no implementation")

    monkeypatch.setattr(supported_opset, "make_session", refuse_from_20)
    supported_opset._runs.cache_clear()
    out = tmp_path / "new"
    result = run_command("export", trained / "m.npz", "--calibrate", "digits", "--out", out, "--opset", 21)
    supported_opset._runs.cache_clear()
    assert result.exit_code == 2
    assert "opset is 21, expected 13 to 19, the newest that onnxruntime" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.startswith(("run", "export"))])
@pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
def test_what_is_no_file_is_refused_before_the_work(kind, name, trained, tmp_path, monkeypatch):
    """A pipe, a device, a loop of links: nothing is trained first, and nothing is replaced, --force or not."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / WRITERS[name][1]
    if kind == "pipe":
        os.mkfifo(out)
    else:
        out.symlink_to("/dev/null" if kind == "device" else out.name)
    before = os.lstat(out)
    for more in ([], ["--force"]):
        result = run(name, trained, *more)[0]
        assert result.exit_code == 2
        assert is_one_line(result)
        assert "is no regular file" in result.stderr
    assert os.lstat(out).st_ino == before.st_ino


def test_results_may_go_to_a_device(trained):
    """A device or a pipe is written to and not replaced."""
    device = trained / "null.csv"  # the name says which kind of table is wanted
    device.symlink_to("/dev/null")
    arguments = ["run", trained / "m.npz", "--input", trained / "x.npy", "--output", device]
    assert run_command(*arguments).exit_code == 0
    assert device.is_symlink()
    assert device.is_char_device()


def links_to(path, folder, suffix):
    """Other names of one file: a link, a hard link, and through a link to its folder where its own name will do."""
    folder.mkdir()
    (folder / f"soft{suffix}").symlink_to(path)
    os.link(path, folder / f"hard{suffix}")
    names = [folder / f"soft{suffix}", folder / f"hard{suffix}"]
    if path.suffix == suffix:
        (folder / "door").symlink_to(path.parent, target_is_directory=True)
        names.append(folder / "door" / path.name)
    return names


@pytest.fixture
def home(trained, tmp_path):
    """A folder with one file of each kind that commands read."""
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 64)).astype(np.float32), np.arange(40) % 10
    np.savez(home / "data.npz", x=x, y=y)
    np.savetxt(home / "data.csv", np.column_stack([x, y]), delimiter=",")
    (home / "idx").mkdir()
    images = b"\0\0\x08\x03" + struct.pack(">3I", 40, 8, 8) + bytes(40 * 64)
    (home / "idx" / "train-images-idx3-ubyte").write_bytes(images)
    labels = b"\0\0\x08\x01" + struct.pack(">I", 40) + y.astype(np.uint8).tobytes()
    (home / "idx" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    (home / "app.pyz").unlink(missing_ok=True)
    assert run_command("bundle", home / "m.int8.npz", "-o", home / "app.pyz").exit_code == 0
    proto = onnx.load(home / "m.float32.onnx")
    onnx.save(proto, home / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    return home


# What is read, the suffix that the output needs, and the command up to the output's name; {h} is the folder of `home`
READERS = {
    "model of run": ("m.npz", ".npy", "run {h}/m.npz --input {h}/x.npy --output"),
    "rows of run": ("x.npy", ".npy", "run {h}/m.npz --input {h}/x.npy --output"),
    "rows of run in a table": ("x.csv", ".csv", "run {h}/m.npz --input {h}/x.csv --output"),
    "model of bundle": ("m.int8.npz", ".pyz", "bundle {h}/m.int8.npz -o"),
    "file of import": ("m.int8.onnx", ".npz", "import {h}/m.int8.onnx --out"),
    "rows of import": ("data.npz", ".npz", "import {h}/m.int8.onnx --data {h}/data.npz --out"),
    "table of import": ("data.csv", ".npz", "import {h}/m.int8.onnx --data {h}/data.csv --out"),
    "weights beside the file of import": ("big.data", ".npz", "import {h}/big.onnx --out"),
    "data of train": ("data.npz", ".npz", "train --epochs 1 --data {h}/data.npz --out"),
    "data of train, for the checkpoint": (
        "data.npz",
        ".npz",
        "train --epochs 1 --data {h}/data.npz --out {h}/t.npz --checkpoint",
    ),
    "images of train": ("idx/train-images-idx3-ubyte", ".npz", "train --epochs 1 --data {h}/idx --out"),
    "labels of train": ("idx/train-labels-idx1-ubyte.gz", ".npz", "train --epochs 1 --data {h}/idx --out"),
    "checkpoint of train": ("c", ".npz", "train --epochs 1 --hidden 6 --resume {h}/c --out"),
}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("what", READERS)
def test_what_a_command_reads_is_never_replaced_under_any_name(what, home, tmp_path):
    """No option allows it: outputs are compared with inputs by the files that names lead to."""
    name, suffix, words = READERS[what]
    before = contents(home)
    for other in links_to(home / name, tmp_path / "links", suffix):
        result = run_command(*words.replace("{h}", str(home)).split(), other, "--force")
        assert result.exit_code == 2, result.output
        assert "is what the command reads; expected another name" in result.stderr
        assert contents(home) == before


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("name", ["m.npz", "data.npz", "data.csv", "big.data"])
@pytest.mark.parametrize("suffix", ["npz", "onnx"])
def test_an_export_never_replaces_what_it_reads(name, suffix, home, tmp_path):
    """Neither the model, nor its calibration rows, nor the weights that lie beside an ONNX file."""
    out = tmp_path / "out"
    out.mkdir()
    model = "big.onnx" if name == "big.data" else "m.npz"
    rows = name if name.startswith("data") else "data.npz"
    (out / f"{model.split('.')[0]}.int8.{suffix}").symlink_to(home / name)
    before = contents(home)
    result = run_command("export", home / model, "--calibrate", home / rows, "--out", out, "--force")
    assert result.exit_code == 2, result.output
    assert "is what the command reads; expected another name" in result.stderr
    assert contents(home) == before


def test_a_bundle_does_not_replace_itself_nor_its_rows(home, tmp_path):
    """Started from its own file, which it knows by the name that it was started under."""
    before = contents(home)
    for name in ("app.pyz", "x.csv"):
        (tmp_path / "o.csv").unlink(missing_ok=True)
        (tmp_path / "o.csv").symlink_to(home / name)
        words = [home / "app.pyz", "--input", home / "x.csv", "--output", tmp_path / "o.csv", "--force"]
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "is what the command reads; expected another name" in done.stderr
        assert contents(home) == before


def test_rows_that_come_through_standard_input_are_not_replaced_either(home):
    """`run m.npz --input - --output x.csv < x.csv` reads x.csv."""
    before = contents(home)
    words = ["-m", "export", "run", home / "m.npz", "--input", "-", "--output", home / "x.csv", "--force"]
    with open(home / "x.csv", "rb") as rows:
        done = subprocess.run([sys.executable, *words], stdin=rows, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is what the command reads; expected another name" in done.stderr
    assert contents(home) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk for everybody is Linux's")
@pytest.mark.parametrize("call", ["open", "fdopen", "fsync"])
def test_a_full_disk_leaves_the_older_pair_whole(call, trained, tmp_path, monkeypatch):
    """Whether a file cannot be made, written or synced: both files are those of before, and nothing else lies there."""
    out = tmp_path / "out"
    words = ["export", trained / "m.npz", "--calibrate", "digits", "--out", out]
    assert run_command(*words, "--per-tensor").exit_code == 0
    before, named = contents(out), []
    for position in range(1, 10):
        with monkeypatch.context() as patch:
            fill_disk_at(position, call, patch)
            result = run_command(*words)
        if result.exit_code == 0:
            break
        assert result.exit_code == 1
        assert "No space left" in result.stderr.splitlines()[-1]
        named += [name for name in ("m.int8.onnx", "m.int8.npz") if name in result.stderr.splitlines()[-1]]
        assert contents(out) == before
    assert named == ["m.int8.onnx", "m.int8.npz"]
    assert sorted(os.listdir(out)) == ["m.int8.npz", "m.int8.onnx"]
    assert not set(contents(out).items()) & set(before.items())
    assert run_command("verify", out / "m.int8.npz", out / "m.int8.onnx", "--data", "digits").exit_code == 0


def fill_disk_at(position, call, patch):
    """Let the disk be full when a temporary file is made, written or synced for the `position`-th time."""
    real, counter = getattr(os, call), itertools.count(1)

    def counted(*arguments, **options):
        is_folder = call == "fsync" and not stat.S_ISREG(os.fstat(arguments[0]).st_mode)
        is_other = call == "open" and not is_temporary(os.path.basename(arguments[0]))
        if is_folder or is_other or next(counter) != position:
            return real(*arguments, **options)
        if call == "fdopen":
            os.close(arguments[0])
            return open("/dev/full", "wb")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(os, call, counted)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk for everybody is Linux's")
def test_a_full_disk_leaves_no_artifact_where_none_was(trained, tmp_path, monkeypatch):
    """Nor an ONNX file: neither gets its name before both are on the disk."""
    for position in (1, 2):
        with monkeypatch.context() as patch:
            fill_disk_at(position, "fdopen", patch)
            result = run_command("export", trained / "m.npz", "--calibrate", "digits", "--out", tmp_path / "new")
        assert result.exit_code == 1
        assert os.listdir(tmp_path / "new") == []


def test_a_pair_that_breaks_a_rule_is_not_written(trained, tmp_path, monkeypatch):
    """What was there before stays, the status is 1, and the table says that it was not verified."""
    real = verified_pair.to_onnx

    def damaged(model, *arguments, **options):
        proto = real(model, *arguments, **options)
        weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense0.bias")
        values = np.frombuffer(weight.raw_data, np.int32) + 1000
        weight.raw_data = values.astype(np.int32).tobytes()
        return proto

    monkeypatch.setattr(verified_pair, "to_onnx", damaged)
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(trained / "m.int8.npz", out / "m.int8.npz")
    before = (out / "m.int8.npz").read_bytes()
    result = run_command("export", trained / "m.npz", "--calibrate", "digits", "--out", out)
    assert result.exit_code == 1
    assert " NO" in result.stdout
    assert "not written" in result.stderr
    assert os.listdir(out) == ["m.int8.npz"]
    assert (out / "m.int8.npz").read_bytes() == before


def test_a_link_into_a_missing_folder_names_the_folder(trained, tmp_path):
    """It is missing, and not forbidden."""
    (tmp_path / "link.npz").symlink_to(tmp_path / "absent" / "x.npz")
    result = run_command("import", trained / "m.int8.onnx", "--out", tmp_path / "link.npz")
    assert result.exit_code == 2
    assert f"{tmp_path / 'absent'}: no such folder, make it first" in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk for everybody is Linux's")
def test_a_full_device_is_named_as_it_was(trained):
    """By the name that the output was given, and not as the standard output."""
    (trained / "full.csv").symlink_to("/dev/full")
    result = run_command("run", trained / "m.npz", "--input", trained / "x.npy", "--output", trained / "full.csv")
    assert result.exit_code == 1
    assert f"{trained / 'full.csv'}: No space left on device" in result.stderr
