"""What commands say beside their results: JSON, how far they are, what they wonder at."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any

import click

from edge_runtime.console.entry import speaks_unicode


class RowsDone:
    """Says on standard error how far long work is, every two seconds; on a terminal in one line, written over.

    As a context it clears that line at its end, so that what is printed next begins a line.
    """

    form = "{:,} of {:,} rows"

    def __init__(self, what: str) -> None:
        self.what, self.last, self.width = what, time.monotonic(), 0
        self.on_terminal = sys.stderr.isatty()

    def __enter__(self) -> RowsDone:
        return self

    def __exit__(self, *_: object) -> None:
        if self.width and self.on_terminal:
            say(f"\r{' ' * self.width}\r", nl=False)

    def __call__(self, done: int, total: int) -> None:
        """Told after each block of rows."""
        if time.monotonic() - self.last < 2.0:
            return
        self.last = time.monotonic()
        text = f"{self.what}: {self.form.format(done, total)}"
        self.width = max(self.width, len(text))
        if self.on_terminal:
            text = f"\r{text:<{self.width}}"
        say(text, nl=not self.on_terminal)


class CallsDone(RowsDone):
    """The same of a measurement: told the batch size before each call, and how many calls it has had."""

    form = "batch {:,}, {:,} calls"


def warn_of_range(model: Any, rows: Any) -> None:
    """One line on standard error where the rows are not what the model was calibrated for."""
    from edge_runtime.reference import range_warning

    text = range_warning(model, rows)
    if text is not None:
        say(f"warning: {text}")


def say(text: str, *, nl: bool = True) -> None:
    """A message on standard error. Where nobody can hear it any more it is lost, and the work goes on."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(text, err=True, nl=nl)


def echo(text: str, *, err: bool = False) -> None:
    """Print text that may hold names of files: what would steer the terminal, or cannot be printed, is escaped."""
    shown = "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)
    if err:
        say(shown)
    else:
        click.echo(shown)


def echo_json(value: Any) -> None:
    """Print one JSON object. Control characters in it are escaped, those too that JSON itself would let through."""
    text = json.dumps(value, indent=2, ensure_ascii=not speaks_unicode(sys.stdout))
    click.echo("".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text))
