"""What commands print, and how wide."""

import pytest

from edge_runtime.console.messages import be_quiet, note, say, warn, width_for, wrapped


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("132", 132), ("10", 40), ("", 80)])
def test_results_are_as_wide_as_the_terminal(columns, width, monkeypatch):
    """As COLUMNS says, 80 where nothing is known, and never too narrow for a table; `--wide` is any width."""
    monkeypatch.setenv("COLUMNS", columns)
    assert width_for() == width
    assert width_for(wide=True) is None


def test_long_lines_go_on_two_to_the_right_and_no_word_is_cut():
    """A path is one word, however long; lines that were there stay."""
    assert wrapped("one two three\nfour", 8) == "one two\n  three\nfour"
    assert wrapped(f"see {'/very' * 9}-long now", 12) == f"see\n  {'/very' * 9}-long\n  now"
    assert wrapped("a\n\nb " * 99, None) == "a\n\nb " * 99


def test_quiet_is_for_notes_and_not_for_warnings(capsys, monkeypatch):
    """A warning is one line, whatever it holds; a note is wrapped; both go to standard error."""
    monkeypatch.setenv("COLUMNS", "40")
    for quiet in (False, True):
        be_quiet(quiet)
        try:
            note("a note " * 10)
            warn("a\nwarning \x1b[31m" + "x" * 100)
            say("error: it")
        finally:
            be_quiet(False)
        out, err = capsys.readouterr()
        assert out == ""
        lines = err.splitlines()
        assert lines[-2:] == [r"warning: a warning \x1b[31m" + "x" * 100, "error: it"]
        assert (lines[:-2] == []) is quiet
        assert all(len(line) <= 40 for line in lines[:-2])
