"""One input under watch: what it raises, how long it takes, how much memory it takes, and what it touches.

A finding is a text that starts with its kind and place, so that a thousand inputs with one cause are one finding:
an undocumented exception or warning, more than `MAX_SECONDS` of processor time, more memory than `memory_bound`, or an
action that no reader has reason for: another folder's file opened, a process started, a pickle or other code loaded.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

from tests.fuzz.readers import MAX_BYTES, Reader

MAX_SECONDS = 2.0  # of processor time, for inputs of some kilobytes; instrumented code is about three times as slow
_CODE = (".py", ".pyc", ".so")  # modules that are imported when they are first needed
_FORBIDDEN = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "os.mkdir",
              "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.truncate", "shutil.", "socket.", "pickle.",
              "ctypes.dlopen", "urllib.")  # fmt: skip


def memory_bound(size: int) -> int:
    """Bytes that reading `size` bytes may take, all of the check included: file, copies, text as Python objects."""
    return (8 << 20) + 64 * size + 8 * MAX_BYTES


class Watch:
    """Calls a reader's check on one input after the other and judges each.

    every: one input in so many is run under tracemalloc, which sees all memory but takes long. The others are judged by
    the process's peak, which sees what no input before has taken.
    """

    def __init__(self, reader: Reader, folder: Path, every: int = 64) -> None:
        self.reader, self.folder, self.every = reader, folder, every
        self.inputs = self.taken = 0
        self._touched: list[str] = []
        for content in reader.seeds():  # imports what is imported late
            reader.check(content, folder)

    def __call__(self, content: bytes) -> str | None:
        """The finding that this input is, or None."""
        self.inputs += 1
        is_traced = self.inputs % self.every == 0
        self._touched.clear()
        peak_before = _peak_bytes()
        if is_traced:
            tracemalloc.start()
        started = time.thread_time()
        finding = self._run(content)
        seconds = time.thread_time() - started
        taken = _peak_bytes() - peak_before
        if is_traced:
            taken = max(taken, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        if finding is None and self._touched:
            finding = f"touches {self._touched[0]}"
        if finding is None and seconds > MAX_SECONDS * (5 if is_traced else 1):
            finding = f"slow: {seconds:.1f} s for {len(content):,} bytes"
        if finding is None and taken > memory_bound(len(content)):
            finding = f"memory: {taken:,} bytes for {len(content):,} bytes"
        return finding

    def _run(self, content: bytes) -> str | None:
        _WATCHING.append(self)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                self.taken += self.reader.check(content, self.folder)
        except BaseException as error:  # SystemExit and KeyboardInterrupt would be findings too
            return f"{type(error).__name__} at {_place(error)}: {error}"
        finally:
            _WATCHING.clear()
        return None

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note an action that no reader has reason for. Raising here would be caught by the reader itself."""
        if event == "open":
            path = arguments[0]
            if isinstance(path, int) or os.fsdecode(path).startswith(str(self.folder)):
                return
            if os.fsdecode(path).endswith(_CODE) and arguments[1] in ("r", "rb", None):
                return
            self._touched.append(f"{event} {path!r} {arguments[1]!r}")
        elif event.startswith(_FORBIDDEN) and not self._own_cleaning(event, arguments):
            self._touched.append(f"{event} {arguments!r:.200}")
        elif event == "compile" and str(arguments[1]).startswith("<"):
            self._touched.append(f"compile {arguments!r:.200}")

    def _own_cleaning(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """The checks themselves remove files from their folder."""
        return event == "os.remove" and str(arguments[0]).startswith(str(self.folder))


_WATCHING: list[Watch] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    for watch in _WATCHING:
        watch.note(event, arguments)


sys.addaudithook(_audit)  # once for the process: a hook cannot be removed


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _place(error: BaseException) -> str:
    """The innermost line of the project itself that the exception went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if any(f"/{name}/" in f.filename for name in ("edge_runtime", "export", "trainer"))]
    frame = (ours or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
