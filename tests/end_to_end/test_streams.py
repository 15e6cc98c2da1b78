"""Standard streams that are closed, full or cut off, and Ctrl-C at any moment: one line at most, never a traceback."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace

import pytest

from edge_runtime import load, save
from export.onnx_writer.writer import write_onnx
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
from tests.command import run_command
from tests.killing import interrupt_after
from tests.networks import random_model, random_rows

pytestmark = pytest.mark.skipif(os.name != "posix", reason="shell redirections and signals of POSIX")
ONE_ROW = "1,0,1,0,1,0\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that takes six numbers: m.npz, m.onnx, and as one file, app.pyz."""
    folder, rows = tmp_path_factory.mktemp("streams"), random_rows(50, 6)
    model = with_test_vectors(quantize(random_model([6, 5, 3], ["relu", "softmax"]), rows), rows)
    save(model, folder / "m.npz")
    assert run_command("bundle", folder / "m.npz", "-o", folder / "app.pyz").exit_code == 0
    write_onnx(model, folder / "m.onnx")
    (folder / "x.csv").write_text(ONE_ROW)
    return folder


def shell(command, folder, encoding="utf-8"):
    """A command line of bash, in which `$S` is smallnet and `$D` the device's commands: (status, output, errors)."""
    python = sys.executable
    environment = {**os.environ, "S": f"{python} -m export", "D": f"{python} -m edge_runtime", "P": python}
    result = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, encoding=encoding, timeout=60
    )
    return result.returncode, result.stdout, result.stderr


CASES = {
    # command: (exit status, what the one line on standard error says; None for no line)
    "$S devices <&- >/dev/null": (0, None),
    "$S run m.npz --input - <&-": (2, "standard input: Bad file descriptor"),
    "$D run m.npz --input - <&-": (2, "standard input: Bad file descriptor"),
    "$P app.pyz --input - <&-": (2, "standard input: Bad file descriptor"),
    "$S run m.npz --input - < /dev/null": (2, "standard input: no rows"),
    "$S run m.npz --input x.csv >&-": (2, "standard output: Bad file descriptor"),
    "$P app.pyz --input x.csv >&-": (2, "standard output: Bad file descriptor"),
    "$S inspect m.npz --json >&-": (2, "standard output: Bad file descriptor"),
    "$S devices > /dev/full": (1, "standard output: No space left on device; free some space"),
    "$D run m.npz --input x.csv > /dev/full": (1, "standard output: No space left on device"),
    "$S selftest m.npz 2>&- >/dev/null": (0, None),
    "$S train --epochs 1 --out t.npz <&- 2>&- >/dev/null": (0, None),
    "$S inspect missing.npz <&- >&- 2>&-": (2, None),
    "$S devices --json | true; exit ${PIPESTATUS[0]}": (1, None),
    "yes 1,0,1,0,1,0 | head -100000 | $S run m.npz --input - | head -1 >/dev/null; exit ${PIPESTATUS[2]}": (1, None),
    "yes 1,0,1,0,1,0 | head -100000 | $P app.pyz --input - | head -1 >/dev/null; exit ${PIPESTATUS[2]}": (1, None),
    "$P app.pyz --input x.csv > /dev/full": (1, "standard output: No space left on device; free some space"),
}


@pytest.mark.parametrize("command", CASES)
def test_a_closed_or_full_or_broken_stream_gives_at_most_one_line(folder, command):
    """The stated exit status, the stated line, and no traceback from Python's shutdown either."""
    expected, words = CASES[command]
    status, _, errors = shell(command, folder)
    assert status == expected, errors
    if words is None:
        assert errors == ""
    else:
        assert errors.startswith("error: ")
        assert words in errors
        assert len(errors.splitlines()) == 1


def test_no_file_takes_the_place_of_a_closed_stream(folder):
    """With all three streams closed, what is written is whole: nothing printed gets into it."""
    status, _, _ = shell("$S train --epochs 1 --seed 3 --out closed.npz <&- 2>&- >/dev/null", folder)
    assert status == 0
    assert shell("$S train --epochs 1 --seed 3 --out open.npz", folder)[0] == 0
    assert (folder / "closed.npz").read_bytes() == (folder / "open.npz").read_bytes()


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("export", ["verify", "m.npz", "m.onnx"]),
        ("export", ["train", "--epochs", "100000", "--patience", "100000", "--out", "x.npz"]),
        ("edge_runtime", ["run", "m.npz", "--input", "-"]),
    ],
)
def test_ctrl_c_during_the_imports_exits_with_130_and_one_line(folder, module, arguments):
    """From the first line of ours on: no traceback, and no error of a library that was half imported."""
    draw = random.Random(0)
    for delay in [0.0, *(0.5 * draw.random() for _ in range(4))]:
        status, errors = interrupt_after([sys.executable, "-m", module, *arguments], folder, delay)
        if status == 0:
            continue  # it was over already
        assert status == 130, (delay, errors)
        assert errors.strip().splitlines()[-1].startswith("error: stopped by Ctrl-C"), (delay, errors)
        assert "Traceback" not in errors
        assert "Error" not in errors


SWALLOWED = """
import signal, sys, time, types, weakref
import edge_runtime.console.entry as entry
class Thing: pass
def main(prog_name):
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
    time.sleep(30)
sys.modules["swallowing"] = types.SimpleNamespace(main=main)
signal.signal(signal.SIGINT, signal.default_int_handler)
entry.start("swallowing", "x")
"""


def test_ctrl_c_that_python_drops_in_a_callback_is_sent_again():
    """An exception in a weak reference's callback goes nowhere: the command stops all the same, at once."""
    result = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (130, "error: stopped by Ctrl-C\n")


BLOCKED = """
import runpy, sys
sys.modules[sys.argv[1]] = None  # importing it fails as where it is not installed
sys.argv = sys.argv[2:]
start = runpy.run_path if sys.argv[0].endswith(".pyz") else runpy.run_module
start(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("missing", "command", "advice"),
    [
        ("click", ["edge_runtime", "selftest", "m.npz"], "; or use a bundle, which needs NumPy alone"),
        ("click", ["export", "--help"], "; or use a bundle, which needs NumPy alone"),
        ("numpy", ["app.pyz", "--selftest"], ""),
    ],
)
def test_a_package_that_is_missing_is_named_with_what_helps(folder, missing, command, advice):
    """Without click or NumPy a command is one line and status 2, and no traceback."""
    result = subprocess.run(
        [sys.executable, "-c", BLOCKED, missing, *command], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout) == (2, "")
    line = f"error: {missing} not found, this command needs it; install: pip install {missing}{advice}\n"
    assert result.stderr == line


def test_names_of_files_cannot_steer_the_terminal(folder, tmp_path):
    """Escape sequences in a name come out as text in every command's results, on a terminal too."""
    model, onnx, clear = folder / "m.npz", folder / "m.onnx", "\x1b[2J"
    shown = tmp_path / f"{clear}m.npz"
    save(random_model([64, 5, 10], ["relu", "softmax"]), shown)
    lines = [
        ("import", onnx, "--out", tmp_path / f"{clear}i.npz"),
        ("bundle", model, "-o", tmp_path / f"{clear}.pyz"),
        ("export", shown, "--precision", "float32", "--calibrate", "digits", "--out", tmp_path / f"{clear}folder"),
        ("train", "--hidden", "3", "--epochs", "1", "--out", tmp_path / f"{clear}t.npz"),
        ("inspect", shown),
        ("bench", shown, "--seconds", "0", "--batch", "1"),
    ]
    for line in lines:
        result = run_command(*line, color=True)  # as on a terminal: click takes sequences out elsewhere
        assert result.exit_code == 0, result.output
        assert r"\x1b[2J" in result.stdout + result.stderr, line[0]
        assert "\x1b" not in result.stdout + result.stderr, line[0]


def test_a_present_folder_that_is_gone_is_named_as_the_cause(folder, tmp_path):
    """Relative names mean nothing there: one line, status 2."""
    gone = tmp_path / "gone"
    gone.mkdir()
    status, out, err = shell(f"rmdir {gone}; $S import {folder}/m.onnx --out a.npz", gone)
    assert (status, out) == (2, "")
    assert err == "error: the present folder: No such file or directory; check the name\n"


@pytest.mark.parametrize("wrong", [["--seconds", "nan"], ["--seconds", "inf"], ["--seconds", "-1"]])
def test_bench_refuses_times_without_an_end_and_two_formats(folder, wrong):
    """Status 2 at once, in place of a measurement that never ends or a format that is passed over."""
    result = run_command("bench", folder / "m.npz", *wrong)
    assert result.exit_code == 2
    assert wrong[0] in result.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-8"])
def test_letters_that_a_stream_lacks_are_escaped(folder, encoding):
    """Names of classes and files in other scripts: JSON says the same in every encoding, and text never fails."""
    names = ("\u732b", "F\u00fc\u00dfe", "owl")
    save(replace(load(folder / "m.npz"), class_names=names), folder / "\u6a21.npz")
    setting = f"export PYTHONIOENCODING={encoding};"
    status, out, errors = shell(f"{setting} $S inspect \u6a21.npz --json", folder, encoding)
    assert (status, errors) == (0, "")
    assert json.loads(out)["class_names"] == list(names)
    status, out, errors = shell(f"{setting} $S inspect \u6a21.npz", folder, encoding)
    assert (status, errors) == (0, "")
    status, _, errors = shell(f"{setting} $S inspect \u6a22.npz", folder, encoding)
    assert status == 2
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("end", ["2>&-", "2>/dev/full", "2> >(true)"])
def test_a_command_goes_on_when_nobody_hears_its_messages(folder, end):
    """Training says how far it is; where that cannot be said, the artifact is written all the same."""
    (folder / "t.npz").unlink(missing_ok=True)
    status, _, _ = shell(f"$S train --epochs 8 --hidden 4 --out t.npz {end}", folder)
    assert status == 0
    assert load(folder / "t.npz").n_in == 64
