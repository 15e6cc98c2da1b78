import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace

import click
import numpy as np
import pytest

from edge_runtime import Engine, save
from edge_runtime.console.bundle import write_bundle
from edge_runtime.console.cli import main
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
from tests.command import run_command
from tests.compilers import needs_compiler
from tests.networks import random_model, random_rows


@pytest.fixture
def app(tmp_path):
    """A bundled model in an empty folder, and the model."""
    rows = random_rows(50, 6)
    model = with_test_vectors(quantize(random_model([6, 5, 3], ["relu", "softmax"]), rows), rows)
    save(model, tmp_path / "m.npz")
    write_bundle(tmp_path / "m.npz", tmp_path / "app.pyz")
    return tmp_path / "app.pyz", model


def run(app, *arguments):
    """The application in an isolated interpreter, which sees no other copy of the runtime."""
    site = np.__path__[0].removesuffix("numpy")
    code = f"import sys, runpy; sys.path.append({site!r}); sys.argv = ['app', *{list(arguments)!r}]; "
    command = [sys.executable, "-I", "-S", "-c", code + f"runpy.run_path({str(app)!r}, run_name='__main__')"]
    return subprocess.run(command, capture_output=True, text=True, cwd=app.parent)


def test_it_proves_itself_and_runs_rows(app):
    """One file, Python and NumPy: the self-test passes and the outputs are the engine's, to the last bit."""
    path, model = app
    assert run(path, "--selftest").stdout.startswith("ok: 8 rows")
    rows = random_rows(4, 6, seed=8)
    np.save(path.parent / "x.npy", rows)
    assert run(path, "--input", "x.npy", "--output", "y.npy").returncode == 0
    np.testing.assert_array_equal(np.load(path.parent / "y.npy"), Engine(model).run(rows))


def test_it_is_the_same_when_written_twice(app):
    """Byte for byte."""
    path, _model = app
    write_bundle(path.parent / "m.npz", path.parent / "again.pyz")
    assert path.read_bytes() == (path.parent / "again.pyz").read_bytes()


def test_classes_are_written_as_the_command_writes_them(app):
    """By name where the model knows their names, byte for byte."""
    path, model = app
    save(replace(model, class_names=("cat", "dog", "owl")), path.parent / "named.npz")
    write_bundle(path.parent / "named.npz", path)
    np.savetxt(path.parent / "x.csv", random_rows(20, 6, seed=9), delimiter=",")
    assert run(path, "--input", "x.csv", "--classes", "--output", "ours.csv", "--max-batch", "3").returncode == 0
    rows, out = path.parent / "x.csv", path.parent / "theirs.csv"
    run_command("run", path.parent / "named.npz", "--input", rows, "--classes", "--output", out)
    written = (path.parent / "ours.csv").read_text()
    assert written == out.read_text()
    assert set(written.split()[1:]) <= {"cat", "dog", "owl"}


BAD_USE = {
    "a missing file": (["--input", "missing.csv"], 2, "missing.csv: No such file or directory; check the name"),
    "too little memory": (["--input", "x.csv", "--ram-bytes", "10"], 1, "the budget is 10 B"),
    "too many rows": (["--input", "x.csv", "--max-batch", "1", "--over-batch", "refuse"], 2, "--max-batch is 1"),
    "too many vectors": (
        ["--selftest", "--max-batch", "7", "--over-batch", "refuse"],
        2,
        "8 rows, the limit --max-batch",
    ),
    "another file's name": (["--input", "x.csv", "--output", "app.npy"], 2, "app.npy exists and is not an array"),
    "nothing to do": ([], 2, "expected --input or --selftest, one of them (see 'app.pyz --help')"),
    "two things to do": (["--selftest", "--input", "x.csv"], 2, "expected --input or --selftest, one of them"),
    "no such option": (["--mmap"], 2, "unrecognized arguments: --mmap"),
    "what would steer a terminal": (["\x1b[31mred\nline"], 2, "unrecognized arguments: \\x1b[31mred line"),
    "no such limit": (["--input", "x.csv", "--max-batch", "0"], 2, "max_batch is 0, expected at least 1 row"),
}


@pytest.mark.parametrize("case", BAD_USE)
def test_bad_use_is_one_line_and_the_command_s_exit_status(case, app):
    """What the commands say of the same mistakes."""
    path, _model = app
    np.savetxt(path.parent / "x.csv", random_rows(2, 6), delimiter=",")
    (path.parent / "app.npy").write_bytes(path.read_bytes())
    arguments, status, message = BAD_USE[case]
    result = run(path, *arguments)
    assert result.returncode == status
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_it_is_called_by_the_name_of_its_file(app):
    """Usage and errors name the file as it is named where it runs, without its folder."""
    path, _model = app
    renamed = path.rename(path.with_name("digits on a device.zip"))
    assert run(renamed, "--help").stdout.startswith("usage: digits on a device.zip [-h]")
    for arguments in ([], ["--selftest", "--input", "x.csv"], ["--mmap"]):
        result = run(renamed, *arguments)
        assert result.returncode == 2
        assert result.stderr.endswith("(see 'digits on a device.zip --help')\n")


def test_sizes_take_letters(app):
    """64K is 65,536 bytes; a size that is none is refused with the forms that are."""
    path, _model = app
    assert run(path, "--selftest", "--ram-bytes", "64K").returncode == 0
    result = run(path, "--selftest", "--ram-bytes", "64X")
    assert result.returncode == 2
    assert "'64X' found, expected bytes such as 1000000, 512K, 64M or 2G" in result.stderr


def test_damage_is_found_and_said_in_one_line(app):
    """A bit that flipped on the way to the device, anywhere in the model: never another answer, never a traceback."""
    path, _model = app
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("bundled/model.npz")
    start, found = member.header_offset + 30 + len(member.filename), []
    for place in range(start, start + member.compress_size, member.compress_size // 7):
        damaged = path.with_name("damaged.pyz")
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        result = run(damaged, "--selftest")
        found.append(result.returncode)
        if result.returncode == 0:  # a bit that says nothing, such as whether a block is the last one
            assert result.stdout.startswith("ok: 8 rows, 24 values compared bit for bit, 0 differ")
        else:
            assert result.returncode == 2
            assert result.stderr.startswith("error: ")
            assert len(result.stderr.splitlines()) == 1
    assert found.count(2) >= 6


def test_an_old_python_says_that_it_is_old(tmp_path):
    """The first lines of a bundle are parsed by Python 2.7 and later; below 3.10 one line and status 2 come of them."""
    save(random_model([3, 2], ["linear"]), tmp_path / "m.npz")
    write_bundle(tmp_path / "m.npz", tmp_path / "app.pyz")
    with zipfile.ZipFile(tmp_path / "app.pyz") as archive:
        first = archive.read("__main__.py").decode()
    head = first[: first.index("from edge_runtime")]
    ast.parse(first, feature_version=(3, 7))
    for old in ("sys.version_info = (3, 9, 18)", "import builtins; builtins.zip = lambda *rows: rows"):
        found = subprocess.run(
            [sys.executable, "-c", f"import sys; {old}; exec({head!r})"], capture_output=True, text=True
        )
        assert found.returncode == 2
        assert found.stderr.startswith("error: this needs Python 3.10 or newer, found 3.")
    assert "f'" not in head
    assert 'f"' not in head


def test_it_takes_the_options_of_the_commands_in_the_same_words(app):
    """What `run` and `selftest` take a bundle takes, but for --mmap: its weights lie within a zip, compressed."""
    path, _model = app
    theirs = {
        option.opts[-1]: option.help
        for command in ("run", "selftest")
        for option in main.get_command(click.Context(main), command).params
        if isinstance(option, click.Option)
    }
    del theirs["--mmap"]
    shown = " ".join(run(path, "--help").stdout.split())
    listed = set(re.findall(r"\[(--[a-z-]+)", shown))
    assert listed == set(theirs) | {"--selftest"}
    for option, text in theirs.items():
        assert f"{option} " in shown
        assert text in shown


SAME = {
    # the same mistakes and doubts: (options, what the model was trained for, how the lines on standard error begin)
    "classes of values": (["--classes"], "regression", ["error: the model gives values and not classes; leave"]),
    "no such device": (["--device", "pdp11"], "class", ["error: "]),
    "a device": (["--device", "esp32"], "class", []),
    "too small a flash": (["--flash-bytes", "1K"], "class", ["error: "]),
    "too fast": (["--speed-factor", "0.5"], "class", ["error: speed_factor is 0.5"]),
    "lean": (["--lean"], "class", []),
    "more data than is allowed": (
        ["--max-bytes", "5"],
        "class",
        ["error: x.csv: over the limit of 5 bytes; raise --max"],
    ),
    "no size": (["--max-bytes", "5X"], "class", ["error: "]),
    "an output of no kind": (["--output", "y.txt"], "class", ["error: --output y.txt: expected a name that ends in"]),
    "the input as output": (["--output", "x.csv"], "class", ["error: --output x.csv is what the command reads"]),
    "no threads": (["--threads", "0"], "class", ["error: "]),
    "quiet": (["--quiet"], "class", []),
    "far out of range": (["--input", "far.csv"], "class", ["warning: "]),
    "far out of range and quiet": (["--input", "far.csv", "--quiet"], "class", ["warning: "]),
}


@pytest.mark.parametrize("case", SAME)
def test_a_bundle_and_the_command_answer_alike(case, app, monkeypatch):
    """The same output, the same status, and the same line, but for what only one of them can advise."""
    path, model = app
    options, target, begin = SAME[case]
    monkeypatch.chdir(path.parent)
    save(replace(model, metadata={**model.metadata, "target": target}), "m.npz")
    write_bundle("m.npz", path)
    np.savetxt("x.csv", random_rows(4, 6, seed=8), delimiter=",")
    np.savetxt("far.csv", random_rows(4, 6, seed=8) * 1e6, delimiter=",")
    if "--input" not in options:
        options = ["--input", "x.csv", *options]
    if "--max-bytes" in options and options[-1] == "5":  # of a command it is the limit on the model too
        assert run_command("run", "m.npz", *options[:2]).exit_code == 0
        ours = run(path, *options)
        assert ours.returncode == 2
        assert ours.stderr.startswith(begin[0])
        return
    ours, theirs = run(path, *options), run_command("run", "m.npz", *options)
    assert (ours.returncode, ours.stdout) == (theirs.exit_code, theirs.stdout)
    for lines in (ours.stderr.splitlines(), theirs.stderr.splitlines()):
        assert len(lines) == len(begin)
        assert all(line.startswith(start) for line, start in zip(lines, begin, strict=True))


def test_the_verdict_is_the_command_s_as_json_too(app):
    """And --json is refused where it would mean nothing."""
    path, _model = app
    for options in ([], ["--json"], ["--max-batch", "3"]):
        theirs = run_command("selftest", path.parent / "m.npz", *options)
        ours = run(path, "--selftest", *options)
        assert (ours.returncode, ours.stdout) == (theirs.exit_code, theirs.stdout) != (1, "")
    np.savetxt(path.parent / "x.csv", random_rows(4, 6), delimiter=",")
    result = run(path, "--input", "x.csv", "--json")
    assert (result.returncode, result.stdout) == (2, "")
    assert "--json goes with --selftest" in result.stderr


@needs_compiler
def test_a_bundle_with_kernels_runs_them_where_there_is_no_compiler(app, tmp_path, monkeypatch):
    """They are the default there, `--backend numpy` goes without, and the answers are the same classes and bits."""
    path, _model = app
    write_bundle(path.parent / "m.npz", path, native=True)
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("SMALLNET_CACHE", str(tmp_path / "kept"))
    for options, backend in (((), "native"), (("--backend", "numpy"), "numpy")):
        result = run(path, "--selftest", "--json", *options)
        assert json.loads(result.stdout)["backend"] == backend, result.stderr
        assert json.loads(result.stdout)["ok"]


@needs_compiler
def test_a_bundle_with_kernels_for_another_machine_takes_numpy(app):
    """One line says why."""
    path, _model = app
    write_bundle(path.parent / "m.npz", path, native=True)
    content = {name: zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist()}
    content["bundled/kernels.json"] = content["bundled/kernels.json"].replace(b'"machine": "', b'"machine": "not-')
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    result = subprocess.run(
        [sys.executable, path, "--selftest"],
        capture_output=True,
        text=True,
        env={**os.environ, "CC": "no-such-compiler"},
    )
    assert result.returncode == 0, result.stderr
    assert "the compiled kernels are for not-" in result.stderr


def test_a_bundle_without_kernels_says_that_it_has_none(app):
    """`--backend native` is refused in one line; nothing else needs them."""
    path, _model = app
    result = run(path, "--selftest", "--backend", "native")
    assert result.returncode == 2
    assert "bundle it again with --native" in result.stderr
    assert run(path, "--selftest", "--backend", "auto").returncode == 0
