import io
import types

import pytest

import edge_runtime.console.progress as messages
from edge_runtime.console.progress import CallsDone, RowsDone


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when `now` is set."""
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(messages, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


class Stream(io.StringIO):
    """Standard error, a terminal or not."""

    def __init__(self, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal


def printed(monkeypatch, clock, progress, *, is_terminal):
    """What is printed when progress is told each second, for five seconds."""
    stream = Stream(is_terminal)
    monkeypatch.setattr("sys.stderr", stream)
    with progress("working") as tell:
        for second, done in enumerate((10_000, 20_000, 30_000, 4, 5)):
            clock.now = 1.0 + second
            tell(done, 60_000)
    return stream.getvalue()


def test_long_work_is_reported_every_two_seconds(monkeypatch, clock):
    """One line each in a file: rows of how many, or a batch size and its calls."""
    lines = "working: 20,000 of 60,000 rows\nworking: 4 of 60,000 rows\n"
    assert printed(monkeypatch, clock, RowsDone, is_terminal=False) == lines
    clock.now = 0.0
    lines = "working: batch 20,000, 60,000 calls\nworking: batch 4, 60,000 calls\n"
    assert printed(monkeypatch, clock, CallsDone, is_terminal=False) == lines


def test_on_a_terminal_one_line_is_written_over_and_cleared(monkeypatch, clock):
    """A shorter line leaves nothing of a longer one, and the last one leaves nothing for what is printed next."""
    parts = printed(monkeypatch, clock, RowsDone, is_terminal=True).split("\r")
    longest = len("working: 20,000 of 60,000 rows")
    assert parts == ["", "working: 20,000 of 60,000 rows", "working: 4 of 60,000 rows     ", " " * longest, ""]


def test_quick_work_is_not_reported(monkeypatch, clock):
    """Nothing is printed within two seconds, on a terminal either."""
    stream = Stream(True)
    monkeypatch.setattr("sys.stderr", stream)
    with RowsDone("working") as tell:
        clock.now = 1.9
        tell(1, 2)
    assert stream.getvalue() == ""
