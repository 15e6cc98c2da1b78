"""The first lines of every command line: what must hold before the heavy imports, which take half a second or more.

This module and those it imports are light, and `edge_runtime` and `export` import nothing by themselves: Ctrl-C is
answered from the first lines of ours on. (While Python itself starts, some hundredths of a second, Python answers.)
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, MutableMapping, Sequence
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130  # what shells report for a command that Ctrl-C ended
MOST_THREADS = 4096
# What the libraries behind NumPy's matrix products read while they are loaded. The last names are for users alone.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_USERS_THREADS = (*_THREADS, "GOTO_NUM_THREADS", "BLIS_NUM_THREADS")
_NEEDED = {"click": "; or use a bundle, which needs NumPy alone", "numpy": ""}  # and what helps besides installing it


def start(module: str, prog_name: str) -> None:
    """Import a command line and run its `main(prog_name=...)`, which ends the process.

    Where NumPy or click is missing, one line says so and the status is 2.
    """
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not ignored, as in a background job
    try:
        if is_ours:
            signal.signal(signal.SIGINT, _stop)
            sys.unraisablehook = _ask_again
        repair_streams()
        set_threads(sys.argv[1:], os.environ)
        _import_main(module)(prog_name=prog_name)
    except KeyboardInterrupt:
        _leave()
    finally:
        if is_ours:  # all is said and done; Python's shutdown would answer with a traceback
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        settle_streams()


def set_threads(arguments: Sequence[str], environment: MutableMapping[str, str]) -> None:
    """Say in the environment how many threads NumPy's matrix products take: it is read when NumPy is imported.

    `--threads N` of a command line decides; without it what the user has set; without that it is one, because small
    networks gain nothing from more. What is no number is left to the command, which refuses it.
    """
    wanted = _threads_in(arguments)
    if wanted is None and any(environment.get(name) for name in _USERS_THREADS):
        return
    environment.update(dict.fromkeys(_THREADS, wanted or "1"))


def _threads_in(arguments: Sequence[str]) -> str | None:
    """The value of the last `--threads N` or `--threads=N` before `--`, if it is one; a bundle takes `--thr N` too."""
    found = None
    for option, following in zip(arguments, [*arguments[1:], ""], strict=False):
        name, separator, value = option.partition("=")
        if option == "--":
            break
        if "--threads".startswith(name) and name.startswith("--th"):
            text = value if separator else following
            found = text if text.isdecimal() and 1 <= int(text[:9]) <= MOST_THREADS else found
    return found


def _import_main(module: str) -> Callable[..., Any]:
    try:
        return __import__(module, fromlist=["main"]).main
    except ModuleNotFoundError as error:
        name = error.name or ""
        if name not in _NEEDED:  # a part of ours, or of a package that is broken: the traceback says which
            raise
        text = f"{name} not found, this command needs it; install: pip install {name}{_NEEDED[name]}"
        with contextlib.suppress(OSError, ValueError):  # nobody may be left to read it
            print(f"error: {text}", file=sys.stderr)
        sys.exit(2)


def _stop(_number: int, frame: FrameType | None) -> None:
    """Ctrl-C: KeyboardInterrupt, or the end at once while something is imported.

    There it would not arrive: compiled modules turn it into an ImportError that they print.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _leave()
        frame = frame.f_back
    raise KeyboardInterrupt


def _ask_again(lost: Any) -> None:
    """Python drops what is raised in a destructor or a weak reference's callback. Ctrl-C is sent once more, soon."""
    if lost.exc_type is not KeyboardInterrupt:
        return sys.__unraisablehook__(lost)
    timer = threading.Timer(0.01, _interrupt_main_thread)
    timer.daemon = True
    return timer.start()


def _interrupt_main_thread() -> None:
    if hasattr(signal, "pthread_kill"):  # a signal to this thread would not wake the main one up
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


def _leave() -> NoReturn:
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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not speaks_unicode(stream):
            stream.reconfigure(errors="backslashreplace")


def speaks_unicode(stream: Any) -> bool:
    """Whether a text stream takes every letter; what has no encoding is memory, and does."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def settle_streams() -> None:
    """Let what could not be printed go: Python flushes once more when it ends, and would complain of it again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
