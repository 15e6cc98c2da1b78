"""What commands print: results on standard output, and beside them, on standard error, what to know. No click."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import warnings
from collections.abc import Iterator
from typing import Any

from edge_runtime.console.entry import speaks_unicode
from edge_runtime.files import escaped

_NARROWEST = 40


class _State:
    """Of this process: whether notes are wanted, and how much of a line on standard error is to be written over."""

    quiet = False
    open_letters = 0


def be_quiet(quiet: bool) -> None:
    """Print no notes and no progress from now on, or print them again."""
    _State.quiet = quiet


def is_quiet() -> bool:
    """Whether notes and progress are left out."""
    return _State.quiet


def width_for(wide: bool = False) -> int | None:
    """Letters that a line of results may have: those of the terminal, 80 where there is none; None for any number."""
    import shutil  # with it come four kinds of compression: help and short answers do without

    return None if wide else max(_NARROWEST, shutil.get_terminal_size().columns)


def verdict_width(wide: bool = False) -> int | None:
    """The same for the line that decides: it is wrapped on a terminal alone; elsewhere programs look for it."""
    return width_for(wide) if sys.stdout.isatty() else None


def wrapped(text: str, width: int | None) -> str:
    """Lines of at most `width` letters, if no word is longer; what goes on stands two to the right."""
    if width is None:
        return text
    lines = (
        textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )
    return "\n".join("\n".join(parts) for parts in lines)


def say(text: str) -> None:
    """A line on standard error, as it is. Where nobody can hear it any more it is lost, and the work goes on."""
    clear_line()
    _write(escaped(text, "\n") + "\n")


def warn(text: str) -> None:
    """What to know before trusting a result, in one line on standard error."""
    say(f"warning: {' '.join(text.split())}")


def note(text: str) -> None:
    """What happened, on standard error: for people, who may not want to know."""
    if not _State.quiet:
        say(wrapped(text, width_for()))


def say_fallback(reason: str) -> None:
    """One line if the backend "auto" is NumPy, with the reason for it."""
    if reason:
        note(f"computed by NumPy: {reason}")


def write_over(text: str) -> None:
    """A line on a terminal that takes the place of the one before it, until something else is said."""
    shown = _shown_parts(escaped(text, "\n"), (width_for() or 80) - 1)
    _write(f"\r{shown:<{_State.open_letters}}")
    _State.open_letters = len(shown)


def _shown_parts(text: str, letters: int) -> str:
    """What fits of a text whose parts stand between commas: whole parts, at least one, if need be cut."""
    return text if len(text) <= letters else text[: letters + 1].rpartition(", ")[0] or text[:letters]


def clear_line() -> None:
    """Leave nothing of what `write_over` wrote."""
    if _State.open_letters:
        _write(f"\r{' ' * _State.open_letters}\r")
        _State.open_letters = 0


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def echo(text: str) -> None:
    """Print a result, which may hold names of files."""
    sys.stdout.write(escaped(text, "\n") + "\n")
    sys.stdout.flush()


def echo_json(value: Any) -> None:
    """Print one JSON object. Control characters in it are escaped, those too that JSON itself would let through."""
    import json  # for those who ask for it

    text = json.dumps(value, indent=2, ensure_ascii=not speaks_unicode(sys.stdout))
    echo(escaped(text, "\n", json.dumps))


@contextlib.contextmanager
def one_line_warnings() -> Iterator[None]:
    """Warnings without the source line that raised them, and none of NumPy's of an overflow: the outputs show that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.showwarning = lambda message, *_, **__: warn(str(message))
        yield
