"""How far long work is."""

from __future__ import annotations

import sys
import time

from edge_runtime.console.messages import clear_line, is_quiet, say, write_over

_REDRAWN = 0.1  # seconds between two writings of a terminal's line


class Progress:
    """Says on standard error how far long work is, and about how long it will take. A context.

    On a terminal it is one line that is written over, and cleared at the end; elsewhere some ten plain lines. what: the
    work, in front of each line. unit: what is counted. after: seconds within which nothing is said. Work that starts
    anew, as with the next file, is one whose count is lower than before.
    """

    def __init__(self, what: str = "", *, unit: str = "rows", after: float = 2.0) -> None:
        self.what, self.unit, self.after = f"{what}: " if what else "", unit, after
        self.on_terminal = sys.stderr.isatty()
        self.entered = time.monotonic()
        self.shown = self.entered - _REDRAWN
        self._start(0)

    def _start(self, done: int) -> None:
        self.started, self.first, self.done, self.tenths = time.monotonic(), done, done, 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        clear_line()

    def __call__(self, done: int, total: int, text: str | None = None) -> None:
        """Told after each part of the work. text: in place of "`done` of `total` rows"."""
        now = time.monotonic()
        if done < self.done:
            self._start(done)
        self.done = done
        if is_quiet() or now - self.entered < self.after:
            return
        line = self.what + (f"{done:,} of {total:,} {self.unit}" if text is None else text) + self._left(now, total)
        if self.on_terminal:
            if now - self.shown >= _REDRAWN:
                self.shown = now
                write_over(line)
            return
        tenths = 10 * done // max(total, 1)
        if tenths > self.tenths:
            self.tenths = tenths
            say(line)

    def _left(self, now: float, total: int) -> str:
        if self.done <= self.first or self.done >= total:
            return ""
        return f", {_in_words((now - self.started) * (total - self.done) / (self.done - self.first))} left"


def _in_words(seconds: float) -> str:
    """A time as people say it."""
    whole = max(1, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 100 else f"{round(minutes / 60)} h"
