"""What users are told to type next."""

import os
import shlex
import subprocess
import sys

import pytest

from edge_runtime.console import typed
from edge_runtime.console.typed import typed_path, typed_program
from tests.command import run_command


@pytest.mark.parametrize("name", ["plain.npz", "two words.npz", "it's.npz", "$HOME.npz", "-x.npz"])
def test_a_path_is_one_word_that_holds_in_every_folder(name, tmp_path, monkeypatch):
    """Whatever the name holds, a shell hands it on as the same file."""
    monkeypatch.chdir(tmp_path)
    assert shlex.split(typed_path(name)) == [str(tmp_path / name)]


def test_the_program_is_named_by_where_it_is_if_its_name_does_not_find_it(tmp_path, monkeypatch):
    """Beside an environment that is not active; another one on the path is not meant."""
    for folder in ("a b", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "smallnet").write_text("#!/bin/sh\n")
        (tmp_path / folder / "smallnet").chmod(0o755)
    ours = str(tmp_path / "a b" / "smallnet")
    monkeypatch.setattr(typed.sys, "argv", [ours])
    for path in ("", str(tmp_path / "other")):
        monkeypatch.setenv("PATH", path)
        assert shlex.split(typed_program()) == [ours]
    monkeypatch.setenv("PATH", str(tmp_path / "a b"))
    assert typed_program() == "smallnet"
    monkeypatch.setattr(typed.sys, "argv", [str(tmp_path / "export" / "__main__.py")])
    assert typed_program() == "smallnet"
    monkeypatch.setenv("PATH", "")
    assert shlex.split(typed_program()) == [sys.executable, "-m", "export"]


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
def test_the_lines_that_say_what_is_next_work_as_printed(tmp_path, monkeypatch):
    """From another folder, with a blank in every name: train's, bundle's and the demo's."""
    (tmp_path / "with blank").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i % 7},{i % 5},{'ab'[i % 2]}\n" for i in range(60))
    (tmp_path / "with blank" / "rows.csv").write_text(rows)
    trained = ["--data", "with blank/rows.csv", "--epochs", "1", "--out", "with blank/m.npz"]
    out = run_command("train", *trained).stdout
    out += run_command("demo", "--out", "with blank/demo").stdout
    out += run_command("bundle", "with blank/demo/digits.int8.npz", "-o", "with blank/app.pyz").stdout
    lines = [line for line in out.splitlines() if "next: " in line or "try: " in line]
    assert len(lines) == 3
    for line in lines:
        command = line.partition("next: ")[2] or line.partition("try: ")[2]
        command = command.replace("smallnet ", f"{shlex.quote(sys.executable)} -m export ", 1)
        command = command.replace("python ", f"{shlex.quote(sys.executable)} ", 1) if "try: " in line else command
        result = subprocess.run(["bash", "-c", command], cwd=tmp_path / "elsewhere", capture_output=True, text=True)
        assert result.returncode == 0, (line, result.stderr)
