"""What users are told to type next."""

import shlex
import sys

import pytest

from edge_runtime.console import typed
from edge_runtime.console.typed import typed_path, typed_program, typed_python


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


def test_python_is_named_by_where_it_is_if_its_name_does_not_find_it(tmp_path, monkeypatch):
    """Another one may be first on the path, or there is only a python3."""
    for folder in ("a b", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "python").write_text("#!/bin/sh\n")
        (tmp_path / folder / "python").chmod(0o755)
    ours = str(tmp_path / "a b" / "python3")
    monkeypatch.setattr(typed.sys, "executable", ours)
    for path in ("", str(tmp_path / "other")):
        monkeypatch.setenv("PATH", path)
        assert shlex.split(typed_python()) == [ours]
    monkeypatch.setenv("PATH", str(tmp_path / "a b"))
    assert typed_python() == "python"
