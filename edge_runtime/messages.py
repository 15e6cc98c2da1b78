"""What commands say beside their results: JSON, how far they are, what they wonder at."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click


class RowsDone:
    """Says on standard error how far long work is, every two seconds; on a terminal in one line, written over."""

    def __init__(self, what: str) -> None:
        self.what, self.last = what, time.monotonic()
        self.on_terminal = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Told after each block of rows."""
        if time.monotonic() - self.last < 2.0:
            return
        self.last = time.monotonic()
        start = "\r" if self.on_terminal else ""
        click.echo(f"{start}{self.what}: {done:,} of {total:,} rows", err=True, nl=not self.on_terminal)


def warn_of_range(model: Any, rows: Any) -> None:
    """One line on standard error where the rows are not what the model was calibrated for."""
    from edge_runtime.input_range import range_warning

    text = range_warning(model, rows)
    if text is not None:
        click.echo(f"warning: {text}", err=True)


def echo(text: str, *, err: bool = False) -> None:
    """Print text that may hold names of files: what would steer the terminal, or cannot be printed, is escaped."""
    click.echo("".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text), err=err)


def echo_json(value: Any) -> None:
    """Print one JSON object. Control characters in it are escaped, those too that JSON itself would let through."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo("".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text))
