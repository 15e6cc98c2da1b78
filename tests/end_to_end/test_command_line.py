import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from edge_runtime.engine.limits import OVER_BATCH
from export.onnx_writer.int8_forms import FORMS
from export.quantization.ranges import METHODS
from tests.command import run_command


def invoke(*arguments, cwd=None, stdin=None):
    """The command as users run it, in a process of its own: (status, standard output, standard error)."""
    command = [sys.executable, "-m", "export", *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True)
    return result.returncode, result.stdout, result.stderr


def quick(*arguments):
    """The same within this process, for commands whose exit status is all that matters."""
    result = run_command(*arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A trained and exported network with its data."""
    folder = tmp_path_factory.mktemp("files")
    assert quick("train", "--hidden", "12", "--epochs", "3", "--out", folder / "m.npz")[0] == 0
    assert quick("export", folder / "m.npz", "--precision", "all", "--calibrate", "digits", "--out", folder)[0] == 0
    np.save(folder / "x.npy", np.zeros((3, 64), np.float32))
    np.savetxt(folder / "x.csv", np.zeros((3, 64)), delimiter=",")
    return folder


def test_train_export_verify_run_inspect_selftest_work_in_a_chain(files):
    """The commands of the README, one after the other."""
    assert quick("verify", files / "m.int8.npz", files / "m.int8.onnx", "--data", "digits")[0] == 0
    assert quick("verify", files / "m.float16.npz", files / "m.float16.onnx")[0] == 0
    assert quick("selftest", files / "m.int8.npz")[0] == 0
    assert quick("run", files / "m.int8.npz", "--input", files / "x.npy", "--output", files / "y.npy")[0] == 0
    assert np.load(files / "y.npy").shape == (3, 10)
    status, text, _ = quick("inspect", files / "m.int8.npz")
    assert status == 0
    assert "64-12-10" in text


@pytest.mark.parametrize("command", ["run", "inspect", "selftest", "devices"])
def test_a_device_has_these_commands_without_the_exporter(files, command):
    """`python -m edge_runtime` serves a machine that has only this package and NumPy."""
    rest = {"run": ["--input", files / "x.csv"], "devices": []}.get(command, [])
    arguments = [command, *([] if command == "devices" else [files / "m.int8.npz"]), *rest]
    result = subprocess.run(
        [sys.executable, "-m", "edge_runtime", *map(str, arguments)], capture_output=True, text=True, check=True
    )
    assert result.stdout


@pytest.mark.parametrize("command", ["inspect", "selftest", "devices", "verify", "train", "export"])
def test_json_is_one_object_that_parses(files, command, tmp_path):
    """Every --json prints JSON to standard output and nothing else."""
    arguments = {
        "devices": [],
        "verify": [files / "m.int8.npz", files / "m.int8.onnx"],
        "train": ["--epochs", "1", "--out", tmp_path / "t.npz"],
        "export": [files / "m.npz", "--calibrate", "digits", "--out", tmp_path],
    }.get(command, [files / "m.int8.npz"])
    status, out, _ = quick(command, *arguments, "--json")
    assert status == 0
    assert json.loads(out)


def test_standard_input_and_output(files):
    """`--input - --output -` reads and writes CSV, under class names that start with a letter, to be a heading."""
    status, out, _ = invoke("run", files / "m.int8.npz", "--input", "-", stdin=",".join(["0"] * 64) + "\n")
    assert status == 0
    assert out.splitlines()[0] == ",".join(f"class_{digit}" for digit in range(10))
    assert len(out.splitlines()) == 2
    status, out, _ = invoke("run", files / "m.int8.npz", "--input", "-", "--classes", stdin=",".join(["0"] * 64) + "\n")
    assert status == 0
    assert out.strip().isdigit()


@pytest.mark.parametrize("command", ["", "train", "export", "verify", "run", "inspect", "selftest", "devices", "demo"])
def test_each_command_has_a_help_text_with_an_example(command):
    """`smallnet --help` and each command's own."""
    status, out, _ = quick(*([command] if command else []), "--help")
    assert status == 0
    assert "smallnet" in out


def test_a_help_text_shows_what_an_option_takes():
    """All that the library knows, and no more: a fixed set is listed in place of the word TEXT."""
    shown = quick("export", "--help")[1]
    for name, values in (("method", (*METHODS, "auto")), ("form", FORMS)):
        assert set(re.search(rf"--{name} \[([^]]*)\]", shown)[1].split("|")) == set(values)
    for command in ("run", "selftest", "verify", "bench"):
        shown = quick(command, "--help")[1]
        assert f"--over-batch [{'|'.join(OVER_BATCH)}]" in shown
        assert "--device NAME" in shown


# ---- bad input: one line on standard error, exit status 2, no traceback, no half-written file


def bad_files(folder):
    """Files that are wrong in many ways, by name."""
    rows, labels = np.zeros((20, 64)), np.arange(20) % 2
    np.savez(folder / "narrow.npz", x=np.zeros((20, 5)), y=labels)
    np.savez(folder / "empty.npz", x=np.zeros((0, 64)), y=np.zeros(0, int))
    np.savez(folder / "nan.npz", x=np.where(np.arange(64) == 3, np.nan, rows), y=labels)
    np.savez(folder / "inf.npz", x=np.where(np.arange(64) == 3, np.inf, rows), y=labels)
    np.savez(folder / "lengths.npz", x=rows, y=labels[:-1])
    np.savez(folder / "labels.npz", x=rows, y=labels + 5, class_names=np.array(["a", "b"]))
    np.savez(folder / "one_class.npz", x=rows, y=np.zeros(20, int))
    np.savez(folder / "no_y.npz", x=rows)
    np.savez(folder / "objects.npz", x=np.array([{}] * 3, dtype=object), y=np.zeros(3))
    np.save(folder / "narrow.npy", np.zeros((3, 5)))
    np.save(folder / "nan.npy", np.full((3, 64), np.nan))
    np.save(folder / "empty.npy", np.zeros((0, 64)))
    np.save(folder / "text.npy", np.array(["a"]))
    (folder / "text.csv").write_text("a,b\nc,d\n")
    (folder / "ragged.csv").write_text("1,2,3\n1,2\n")
    (folder / "empty.csv").write_text("")
    (folder / "garbage").write_bytes(bytes(range(256)))
    (folder / "garbage.npz").write_bytes(bytes(range(256)))
    (folder / "folder").mkdir()


TRAIN = ["train", "--epochs", "1", "--out", "out.npz"]
BAD = {
    "train on a missing file": [*TRAIN, "--data", "missing.npz"],
    "train on garbage": [*TRAIN, "--data", "garbage.npz"],
    "train on an unknown kind of file": [*TRAIN, "--data", "garbage"],
    "train on an empty folder": [*TRAIN, "--data", "folder"],
    "train on no rows": [*TRAIN, "--data", "empty.npz"],
    "train on NaN": [*TRAIN, "--data", "nan.npz"],
    "train on inf": [*TRAIN, "--data", "inf.npz"],
    "train on too few labels": [*TRAIN, "--data", "lengths.npz"],
    "train on labels out of range": [*TRAIN, "--data", "labels.npz"],
    "train on one class": [*TRAIN, "--data", "one_class.npz"],
    "train without labels": [*TRAIN, "--data", "no_y.npz"],
    "train on pickled objects": [*TRAIN, "--data", "objects.npz"],
    "train on text": [*TRAIN, "--data", "text.csv"],
    "train on ragged rows": [*TRAIN, "--data", "ragged.csv"],
    "train on an empty csv": [*TRAIN, "--data", "empty.csv"],
    "train with a mistyped option": [*TRAIN, "--hiden", "3"],
    "train with a bad width": [*TRAIN, "--hidden", "3,x"],
    "train with width 0": [*TRAIN, "--hidden", "0,8"],
    "train with a negative rate": [*TRAIN, "--learning-rate", "-1"],
    "train with no epochs": [*TRAIN, "--epochs", "0"],
    "train with batch size 0": [*TRAIN, "--batch-size", "0"],
    "train with all dropped out": [*TRAIN, "--dropout", "1"],
    "train with an unknown optimizer": [*TRAIN, "--optimizer", "sdg"],
    "train with an unknown schedule": [*TRAIN, "--schedule", "cosinus"],
    "train with an unknown activation": [*TRAIN, "--activation", "relou"],
    "train with a negative seed": [*TRAIN, "--seed", "-1"],
    "train into a missing folder": ["train", "--epochs", "1", "--out", "nowhere/out.npz"],
    "export a missing file": ["export", "missing.npz", "--calibrate", "digits"],
    "export garbage": ["export", "garbage.npz", "--calibrate", "digits"],
    "export data": ["export", "narrow.npz", "--calibrate", "digits"],
    "export without data": ["export", "{m}/m.npz", "--precision", "auto", "--max-drop", "1"],
    "export in an unknown precision": ["export", "{m}/m.npz", "--precision", "int5", "--calibrate", "digits"],
    "export with narrow data": ["export", "{m}/m.npz", "--calibrate", "narrow.npz"],
    "export with NaN": ["export", "{m}/m.npz", "--calibrate", "nan.npz"],
    "export with no rows": ["export", "{m}/m.npz", "--calibrate", "empty.npz"],
    "export with no test vectors": ["export", "{m}/m.npz", "--calibrate", "digits", "--test-vectors", "-1"],
    "verify a missing artifact": ["verify", "missing.npz", "{m}/m.int8.onnx"],
    "verify a missing graph": ["verify", "{m}/m.int8.npz", "missing.onnx"],
    "verify garbage": ["verify", "{m}/m.int8.npz", "garbage"],
    "verify another precision": ["verify", "{m}/m.int8.npz", "{m}/m.float32.onnx"],
    "verify on narrow data": ["verify", "{m}/m.int8.npz", "{m}/m.int8.onnx", "--data", "narrow.npz"],
    "run a missing model": ["run", "missing.npz", "--input", "{m}/x.npy"],
    "run garbage": ["run", "garbage.npz", "--input", "{m}/x.npy"],
    "run on missing rows": ["run", "{m}/m.npz", "--input", "missing.csv"],
    "run on narrow rows": ["run", "{m}/m.npz", "--input", "narrow.npy", "--output", "out.npy"],
    "run on NaN": ["run", "{m}/m.npz", "--input", "nan.npy", "--output", "out.npy"],
    "run on text": ["run", "{m}/m.npz", "--input", "text.npy", "--output", "out.npy"],
    "run on text in csv": ["run", "{m}/m.npz", "--input", "text.csv", "--output", "out.npy"],
    "run on garbage rows": ["run", "{m}/m.npz", "--input", "garbage", "--output", "out.npy"],
    "run on a folder": ["run", "{m}/m.npz", "--input", "folder", "--output", "out.npy"],
    "run without input": ["run", "{m}/m.npz"],
    "run with limit 0": ["run", "{m}/m.npz", "--input", "{m}/x.npy", "--max-batch", "0"],
    "run faster than it is": ["run", "{m}/m.npz", "--input", "{m}/x.npy", "--speed-factor", "0.5"],
    "inspect a missing file": ["inspect", "missing.npz"],
    "inspect garbage": ["inspect", "garbage"],
    "selftest a missing file": ["selftest", "missing.npz"],
    "selftest without vectors": ["selftest", "{m}/m.npz"],
    "devices with an argument": ["devices", "esp32"],
    "an unknown command": ["trian"],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered_in_one_line_with_status_2(name, files, tmp_path, monkeypatch):
    """One line on standard error, nothing on standard output, no traceback, and no output file."""
    bad_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    status, out, err = quick(*(argument.replace("{m}", str(files)) for argument in BAD[name]))
    lines = [line for line in err.splitlines() if line]
    assert status == 2, (out, err)
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in err
    assert out == ""
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and path.is_file()] == []


def test_a_real_process_gives_the_same_one_line(tmp_path):
    """What the tests see in-process is what a shell sees."""
    status, out, err = invoke("inspect", "missing.npz", cwd=tmp_path)
    assert (status, out) == (2, "")
    assert err == "error: missing.npz: No such file or directory; check the name\n"


def test_a_check_that_fails_exits_with_1(files, tmp_path):
    """verify of a changed file, selftest of a changed weight, and a budget that cannot be kept."""
    other = tmp_path / "o.npz"
    assert quick("train", "--hidden", "12", "--epochs", "2", "--seed", "5", "--out", other)[0] == 0
    assert quick("export", other, "--calibrate", "digits", "--out", tmp_path)[0] == 0
    status, out, _ = quick("verify", files / "m.int8.npz", tmp_path / "o.int8.onnx", "--data", "digits")
    assert status == 1
    assert "FAILED, first at " in out
    status, _, err = quick("run", files / "m.int8.npz", "--input", files / "x.npy", "--ram-bytes", "1000")
    assert status == 1
    assert "budget is 1,000 B" in err


def test_ctrl_c_stops_cleanly_and_says_how_to_continue(tmp_path):
    """SIGINT in a long training: exit status 130, a checkpoint, no artifact, and the option that continues."""
    command = [sys.executable, "-m", "export", "train", "--epochs", "1000000", "--patience", "1000000"]
    command += ["--out", "m.npz", "--checkpoint", "run.checkpoint"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run.checkpoint").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("error: stopped by Ctrl-C; repeat the command with --resume run.checkpoint")
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.checkpoint"]


def test_bench_and_bundle_answer(files, tmp_path):
    """A measurement with a prediction as JSON, and one file that proves itself."""
    arguments = ["bench", files / "m.int8.npz", "--batch", "1", "--seconds", "0.02"]
    status, out, _ = quick(*arguments, "--against", "onnxruntime", "--device", "esp32", "--json")
    assert status == 0
    facts = json.loads(out)
    assert {row["engine"] for row in facts["latency"]} == {"numpy", "onnxruntime"}
    assert facts["predicted"]["device"] == "esp32"
    assert quick("bundle", files / "m.int8.npz", "-o", tmp_path / "app.pyz")[0] == 0
    proof = subprocess.run([sys.executable, tmp_path / "app.pyz", "--selftest"], capture_output=True, text=True)
    assert proof.stdout.startswith("ok: 8 rows")


def test_devices_of_a_model_and_inspect_show_where_it_fits_and_what_is_left(files, tmp_path):
    """One line for each of the 14 devices: fits or not, bytes left or missing in flash and RAM, predicted ms."""
    from edge_runtime import devices, estimate, load, save
    from tests.networks import random_model

    save(random_model([640, 128, 300, 640], ["relu", "relu", "linear"]), tmp_path / "large.npz")
    for path in (files / "m.int8.npz", tmp_path / "large.npz"):
        shown = [quick("devices", path)[1], quick("inspect", path)[1]]
        model = load(path)
        for name in devices():
            found = estimate(model, name)
            for text in shown:
                words = next(line.split() for line in text.splitlines() if line.startswith(f"{name} "))
                flash = "-" if found.flash_left_bytes is None else f"{found.flash_left_bytes:,}"
                assert words[:4] == [name, "yes" if found.fits else "no", flash, f"{found.ram_left_bytes:,}"]
                assert float(words[4]) == pytest.approx(found.latency_s * 1e3, abs=0.0006)
            assert "predicted" in text
    assert not estimate(model, "stm32g0b1").fits
    status, out, _ = quick("devices", path, "--json")
    assert status == 0
    assert [entry["device"] for entry in json.loads(out)] == list(devices())
    assert quick("devices")[1].splitlines()[0].split()[:2] == ["device", "core"]
