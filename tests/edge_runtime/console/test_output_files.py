"""What a command checks of its outputs: see tests/end_to_end/test_outputs.py for the commands themselves."""

import os

import pytest

from edge_runtime.console import refuse_inputs
from edge_runtime.console.output_files import check_output, check_rows_output
from edge_runtime.errors import OutputRefused


def test_another_name_of_an_input_is_refused_and_the_option_is_named(tmp_path):
    """A link, a hard link, a way round; the second of several inputs too."""
    (tmp_path / "in").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "soft").symlink_to("in")
    os.link(tmp_path / "in", tmp_path / "hard")
    for name in ("in", "soft", "hard", "folder/../in"):
        with pytest.raises(OutputRefused, match=r"--checkpoint .* is what the command reads; expected another name"):
            refuse_inputs(tmp_path / name, [tmp_path / "absent", tmp_path / "in"], "--checkpoint")
    refuse_inputs(tmp_path / "out", [tmp_path / "absent", tmp_path / "in"])


def test_a_name_of_nothing_is_refused_where_the_input_would_be_missing_too(tmp_path):
    """Neither is there: they are compared by where they lead."""
    (tmp_path / "soft").symlink_to("absent")
    with pytest.raises(OutputRefused, match="is what the command reads"):
        refuse_inputs(tmp_path / "soft", [tmp_path / "absent"])


def test_standard_input_is_a_file_where_it_was_sent_from_one(tmp_path, monkeypatch):
    """Else `-` is compared with nothing."""
    (tmp_path / "in").write_bytes(b"x")
    (tmp_path / "other").write_bytes(b"x")
    real = os.fstat
    monkeypatch.setattr(os, "fstat", lambda number: os.stat(tmp_path / "in") if number == 0 else real(number))
    with pytest.raises(OutputRefused, match="is what the command reads"):
        refuse_inputs(tmp_path / "in", ["-"])
    refuse_inputs(tmp_path / "other", ["-"])
    refuse_inputs(tmp_path / "absent", ["-"])


def test_force_replaces_anything_but_an_input(tmp_path):
    """What no command reads is replaced on demand."""
    (tmp_path / "m.npz").write_bytes(b"precious")
    with pytest.raises(OutputRefused, match="add --force"):
        check_output(tmp_path / "m.npz", "artifact")
    check_output(tmp_path / "m.npz", "artifact", force=True)
    with pytest.raises(OutputRefused, match="is what the command reads"):
        check_output(tmp_path / "m.npz", "artifact", force=True, sources=[tmp_path / "m.npz"])


def test_results_go_to_standard_output_or_to_a_name_that_says_the_kind(tmp_path):
    """Not to any other."""
    check_rows_output("-", [tmp_path / "x.npy"])
    check_rows_output(tmp_path / "y.CSV", [tmp_path / "x.npy"])
    with pytest.raises(OutputRefused, match=r"expected a name that ends in \.npy or \.csv, or -"):
        check_rows_output(tmp_path / "y.txt", [tmp_path / "x.npy"])


def test_a_text_is_a_table_by_its_name_alone(tmp_path):
    """A program behind a link is none, and a page is none; what is named like a table may be replaced by one."""
    (tmp_path / "code.py").write_text("print(1)\n")
    (tmp_path / "link.csv").symlink_to("code.py")
    (tmp_path / "old.csv").write_text("1,2\n")
    with pytest.raises(OutputRefused, match="exists and is not a table; add --force to replace it"):
        check_rows_output(tmp_path / "link.csv", [])
    check_rows_output(tmp_path / "link.csv", [], force=True)
    check_rows_output(tmp_path / "old.csv", [])
