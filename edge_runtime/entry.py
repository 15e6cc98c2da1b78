"""The first lines of every command line: what must hold before the heavy imports, which take half a second or more.

This module and those it imports are light, and `edge_runtime` and `export` import nothing by themselves: Ctrl-C is
answered from the first lines of ours on. (While Python itself starts, some hundredths of a second, Python answers.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

INTERRUPTED = 130  # what shells report for a command that Ctrl-C ended


def start(module: str, prog_name: str) -> None:
    """Import a command line and run its `main(prog_name=...)`, which ends the process."""
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not ignored, as in a background job
    try:
        if is_ours:  # while importing: compiled modules turn a KeyboardInterrupt into a printed ImportError
            signal.signal(signal.SIGINT, _leave)
        repair_streams()
        main: Callable[..., Any] = __import__(module, fromlist=["main"]).main
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main(prog_name=prog_name)
    except KeyboardInterrupt:
        _leave()
    finally:
        if is_ours:  # all is said and done; Python's shutdown would answer with a traceback
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        settle_streams()


def _leave(*_signal: object) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"error: stopped by Ctrl-C\n")
    os._exit(INTERRUPTED)


def repair_streams() -> None:
    """Open standard streams that came closed (`<&-`, `>&-`), so that using one is an ordinary OSError.

    Left as they are, `sys.stdin` and its like are None, and the next file that is opened gets their descriptor: what a
    library prints would go into it. What should be read, and results that should be printed, fail; messages are lost.
    """
    streams = (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))
    for number, (name, mode, flags) in enumerate(streams):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, flags)  # the lowest free number: this stream's, unless it was taken since
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def settle_streams() -> None:
    """Let what could not be printed go: Python flushes once more when it ends, and would complain of it again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
