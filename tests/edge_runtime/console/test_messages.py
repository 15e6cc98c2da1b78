"""What commands print, and how wide."""

import pytest

from edge_runtime.console.messages import (
    be_quiet,
    clear_line,
    note,
    say,
    verdict_width,
    warn,
    width_for,
    wrapped,
    write_over,
)


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("132", 132), ("10", 40), ("", 80)])
def test_results_are_as_wide_as_the_terminal(columns, width, monkeypatch):
    """As COLUMNS says, 80 where nothing is known, and never too narrow for a table; `--wide` is any width."""
    monkeypatch.setenv("COLUMNS", columns)
    assert width_for() == width
    assert width_for(wide=True) is None


@pytest.mark.parametrize(("is_terminal", "widths"), [(True, (60, None)), (False, (None, None))])
def test_a_verdict_is_wrapped_on_a_terminal_alone(is_terminal, widths, monkeypatch):
    """In a file or a pipe it is one line, which programs find; with `--wide` it always is."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    assert (verdict_width(), verdict_width(wide=True)) == widths


def test_progress_leaves_out_what_does_not_fit_part_by_part(monkeypatch, capsys):
    """No number is cut in its middle; the last letter of a line is left free, where some terminals would wrap."""
    monkeypatch.setenv("COLUMNS", "40")
    for text, shown in (
        ("loss 0.5, accuracy 0.9123, 12 s left", "loss 0.5, accuracy 0.9123, 12 s left"),
        ("epoch 1, loss 0.5, accuracy 0.9123, 12 s left", "epoch 1, loss 0.5, accuracy 0.9123"),
        ("x" * 50, "x" * 39),
    ):
        write_over(text)
        assert capsys.readouterr().err.strip("\r ") == shown
        clear_line()
        capsys.readouterr()


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
