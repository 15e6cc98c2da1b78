import io
import types

import pytest

import edge_runtime.console.progress as module
from edge_runtime.console.messages import be_quiet, say
from edge_runtime.console.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when `now` is set."""
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setenv("COLUMNS", "80")
    return clock


class Stream(io.StringIO):
    """Standard error, a terminal or not."""

    def __init__(self, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal


@pytest.fixture
def streams(monkeypatch):
    """Makes a standard error of one kind or the other."""

    def make(is_terminal):
        stream = Stream(is_terminal)
        monkeypatch.setattr("sys.stderr", stream)
        return stream

    return make


def seen(text):
    """What a terminal's line shows after it was written to, with every line that was ended."""
    lines, line, place = [], [], 0
    for letter in text:
        if letter == "\n":
            lines.append("".join(line).rstrip())
            line, place = [], 0
        elif letter == "\r":
            place = 0
        else:
            line[place : place + 1] = letter
            place += 1
    return lines, "".join(line).rstrip()


def test_elsewhere_long_work_is_some_ten_plain_lines_with_the_time_left(clock, streams):
    """One at each tenth, whatever the number of calls; none of the last moment is told how long it still takes."""
    stream = streams(False)
    with Progress("working") as tell:
        for done in range(1, 1001):
            clock.now = 2.0 + done
            tell(done, 1000)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "working: 100 of 1,000 rows, 15 min left"
    assert lines[8] == "working: 900 of 1,000 rows, 2 min left"
    assert lines[9] == "working: 1,000 of 1,000 rows"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.1, "1 s"), (99, "99 s"), (100, "2 min"), (3600, "60 min"), (7200, "2 h")]
)
def test_the_time_left_is_said_as_people_say_it(seconds, words, clock, streams):
    """From what the parts took that are done."""
    stream = streams(False)
    with Progress(after=0.0) as tell:
        clock.now = seconds
        tell(5, 10, "half")
    assert stream.getvalue() == f"half, {words} left\n"


def test_what_starts_anew_is_judged_by_itself(clock, streams):
    """A second file whose rows are counted from the start: its own tenths, its own speed."""
    stream = streams(False)
    with Progress("working") as tell:
        for now, done in ((10.0, 50), (20.0, 100), (21.0, 10), (25.0, 50)):
            clock.now = now
            tell(done, 100)
    assert stream.getvalue().splitlines() == [
        "working: 50 of 100 rows, 10 s left",
        "working: 100 of 100 rows",
        "working: 10 of 100 rows",
        "working: 50 of 100 rows, 5 s left",
    ]


def test_on_a_terminal_one_line_is_written_over_and_cleared(clock, streams):
    """Nothing is left of a longer line, nor for what is printed next; and it is never wider than the terminal."""
    stream = streams(True)
    with Progress("working") as tell:
        for now, done, text in ((3.0, 1, "x" * 200), (4.0, 2, "short"), (4.01, 3, "too soon"), (5.0, 4, None)):
            clock.now = now
            tell(done, 4, text)
            if text == "x" * 200:
                assert seen(stream.getvalue()) == ([], f"working: {'x' * 70}")
            elif done in (2, 3):
                assert seen(stream.getvalue()) == ([], "working: short, 4 s left")
    assert seen(stream.getvalue()) == ([], "")
    assert "\n" not in stream.getvalue()


def test_a_message_begins_a_line_of_its_own(clock, streams):
    """Between two states of the work."""
    stream = streams(True)
    with Progress("working") as tell:
        clock.now = 3.0
        tell(1, 4)
        say("wrote a file")
        clock.now = 4.0
        tell(2, 4)
        assert seen(stream.getvalue()) == (["wrote a file"], "working: 2 of 4 rows, 4 s left")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_quick_work_and_quiet_work_is_not_reported(is_terminal, clock, streams):
    """Nothing is printed within two seconds, nor ever where nobody wants to know."""
    stream = streams(is_terminal)
    with Progress("working") as tell:
        clock.now = 1.9
        tell(1, 2)
    be_quiet(True)
    try:
        with Progress("working") as tell:
            clock.now = 100.0
            tell(1, 2)
    finally:
        be_quiet(False)
    assert stream.getvalue() == ""
