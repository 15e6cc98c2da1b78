"""Somebody's ONNX file is run in a child process, under a limit on memory and on time.

onnxruntime folds constants and allocates what a file asks for: some hundred bytes can ask for gigabytes. The child
lives as long as this process, so that only the first file waits for its start; a file that breaks a limit ends it, and
the next one gets another. Threads share it and take turns: what one thread's file does is not held against another's.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import numbers
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.arguments import INPUT_CHECKS, shown
from edge_runtime.errors import ArtifactError, InputError
from edge_runtime.files import printable
from export.onnx_reader import in_few_letters
from export.verification.onnx_session import LEVELS
from export.verification.onnx_worker import read_message, write_message

_BASE_BYTES = 1 << 30  # what a session of a small file may take, rows included
_BYTES_PER_BYTE = 8  # and for each byte of the file: read, decoded, packed for the matrix products, at two levels
_LONGEST_REASON = 1200  # onnxruntime names its source file and function before it comes to the reason
_NUMBERS = itertools.count()  # of sessions: an id() may come again
_CODE = "import sys; sys.path[:] = {path!r}; from export.verification.onnx_worker import main; main()"


@dataclass(frozen=True)
class RunLimits:
    """What running somebody's file may take.

    max_memory: bytes of address space beyond the idle child's; None is 1 GiB and 8 times the file's size. Linux only.
    max_seconds: for opening the file, and again for each block of rows.
    Raises InputError for anything but a whole number, or a number above 0.
    """

    max_memory: int | None = None
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.max_memory is not None and not is_whole(self.max_memory, 0):
            raise InputError(f"max_memory is {shown(self.max_memory)}, expected a whole number of bytes, or None")
        is_number = isinstance(self.max_seconds, numbers.Real) and not isinstance(self.max_seconds, bool)
        if not is_number or not self.max_seconds > 0:
            raise InputError(f"max_seconds is {shown(self.max_seconds)}, expected a number above 0")

    def memory_for(self, file_bytes: int) -> int:
        """The limit on memory for a file of this size, its external data included."""
        return self.max_memory if self.max_memory is not None else _BASE_BYTES + _BYTES_PER_BYTE * file_bytes


def is_whole(value: Any, low: int) -> bool:
    """Whether it is a whole number of at least `low`."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= low


def checked_settings(levels: Any, threads: Any, run_limits: Any) -> tuple[str, ...]:
    """The levels, once what a comparison is asked for has been checked. Raises InputError."""
    known = ", ".join(LEVELS)
    found = INPUT_CHECKS.items("levels", levels, f"a list of some of {known}")
    for level in found:
        if not isinstance(level, str) or level not in LEVELS:
            raise InputError(f"levels names {shown(level)}, expected some of {known}")
    if not is_whole(threads, 0):
        raise InputError(f"threads is {shown(threads)}, expected a whole number of at least 1, or 0 for all cores")
    INPUT_CHECKS.instance("run_limits", run_limits, RunLimits, "RunLimits(max_memory, max_seconds)")
    return found


class ForeignSession:
    """An onnxruntime session in the child: `run` as its own, errors as ArtifactError in one line. A context.

    content: the model's bytes.
    path: the file that they come from, for messages and for external data beside it.
    level, threads, config: as `make_session` takes them.
    limits: by default `RunLimits()`.
    size: bytes of the file and its external data, if that is more than `content`.
    """

    def __init__(
        self,
        content: bytes,
        path: str | os.PathLike[str],
        level: str,
        *,
        threads: int = 1,
        config: Iterable[tuple[str, str]] = (),
        limits: RunLimits | None = None,
        size: int = 0,
    ) -> None:
        self.path, self.limits, self.number = path, limits or RunLimits(), next(_NUMBERS)
        self.memory_bytes = self.limits.memory_for(max(size, len(content)))
        folder = os.path.dirname(os.path.abspath(path))
        entries = [*config, ("session.model_external_initializers_file_folder_path", folder)]
        self._opening = {"level": level, "threads": threads, "config": entries, "memory_bytes": self.memory_bytes}
        self._content = np.frombuffer(content, np.uint8)
        self.outputs = self._open()

    def __enter__(self) -> ForeignSession:
        return self

    def __exit__(self, *_: object) -> None:
        with _WORKER.lock, contextlib.suppress(ArtifactError):  # a child that ends has closed it as well
            if _WORKER.lives(self.child):
                _WORKER.ask(self, {"do": "close"}, [])

    def _open(self) -> list[str]:
        with _WORKER.lock:
            facts, _arrays = self._ask({"do": "open", **self._opening}, [self._content])
            self.child = _WORKER.process
        if "error" in facts:
            raise self._refused(facts["error"], facts["memory"])
        return list(facts["outputs"])

    def _ask(self, facts: dict[str, Any], arrays: list[NDArray[Any]]) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """The child's answer. If a child that ran other files too ends, once more in one that runs this one alone."""
        with _WORKER.lock:  # until it is answered: nobody else ends the child, or gets into the next one
            while True:
                if facts["do"] == "run" and not _WORKER.lives(self.child):
                    self._open()
                answer = _WORKER.ask(self, facts, arrays)
                if answer is not None:
                    return answer
                if not _WORKER.was_shared:
                    raise ArtifactError(f"{self.path}: {self.too_large()} (it ended with status {_WORKER.last_status})")

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]) -> list[Any]:
        """The values of `outputs` (None: of all), a classifier's dictionaries as lists. Raises ArtifactError."""
        request = {"do": "run", "outputs": list(outputs or ()), "inputs": list(feeds)}
        facts, arrays = self._ask(request, list(feeds.values()))
        if "error" in facts:
            rows = len(next(iter(feeds.values())))
            raise self._refused(f"onnxruntime cannot run the model on {rows} rows: {facts['error']}", facts["memory"])
        found, rows_of = iter(arrays), iter(facts["rows"])
        return [next(found) if kind == "array" else list(map(dict, next(rows_of))) for kind in facts["kinds"]]

    def _refused(self, reason: str, is_memory: bool) -> ArtifactError:
        words = in_few_letters(" ".join(reason.split()))
        return ArtifactError(f"{self.path}: {self.too_large() if is_memory else printable(words, _LONGEST_REASON)}")

    def too_large(self) -> str:
        """What is said of a file that breaks the limit on memory."""
        return f"onnxruntime needs more than {self.memory_bytes:,} bytes for it; raise max_memory if you trust the file"

    def too_slow(self) -> str:
        """What is said of a file that breaks the limit on time."""
        limit = f"{self.limits.max_seconds:g} s"
        return f"onnxruntime takes longer than {limit} for it; raise max_seconds if you trust the file"


class _Worker:
    """The child, started when it is first needed. One thread at a time asks it.

    served: numbers of the sessions that the present child was asked for. last_status, was_shared: of the child that
    ended last, its exit status and whether it was asked for more than one session.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.owner = 0
        self.lock = threading.RLock()
        self.served: set[int] = set()
        self.last_status, self.was_shared = 0, False

    def lives(self, process: subprocess.Popen[bytes] | None) -> bool:
        """Whether `process` is the present child of this process, and runs."""
        is_ours = self.owner == os.getpid()  # after a fork it is the parent's
        return process is not None and process is self.process and is_ours and process.poll() is None

    def ask(
        self, session: ForeignSession, facts: dict[str, Any], arrays: list[NDArray[Any]]
    ) -> tuple[dict[str, Any], list[NDArray[Any]]] | None:
        """The answer to a request of `session`; None if the child ends. Raises ArtifactError if it takes too long."""
        with self.lock:
            process = self._started()
            self.served.add(session.number)
            try:
                with _Deadline(process, session.limits.max_seconds) as deadline:
                    answer = _exchange(process, {**facts, "session": session.number}, arrays)
            except BaseException:  # Ctrl-C too: what is left in the pipes belongs to nobody
                self.stop()
                raise
            if answer is None or deadline.is_past:  # with an answer too: the next one who asks finds no dying child
                if answer is None:
                    self.last_status, self.was_shared = process.wait(), len(self.served) > 1
                self.stop()
            if deadline.is_past:
                raise ArtifactError(f"{session.path}: {session.too_slow()}")
            return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self.process is None or not self.lives(self.process):
            self.stop()
            command, pipe = [sys.executable, "-c", _CODE.format(path=sys.path)], subprocess.PIPE
            self.process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
            )
            self.owner, self.served = os.getpid(), set()
        return self.process

    def stop(self) -> None:
        """End the child and close our ends of its pipes; leave one that is not ours to its owner."""
        if self.owner != os.getpid():
            self._abandon()
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def after_fork(self) -> None:
        """In a process that was forked just now: threads that hold locks do not run here, and the child is no child."""
        self.lock = threading.RLock()
        self._abandon()

    def _abandon(self) -> None:
        """Let go of another process's child. Its streams are not closed, as that waits for who uses them over there."""
        process, self.process = self.process, None
        if process is None:
            return
        _ABANDONED.append(process)
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "r+b") as nowhere:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    os.dup2(nowhere.fileno(), stream.fileno(), inheritable=False)


_ABANDONED: list[subprocess.Popen[bytes]] = []  # for good: a stream that nobody refers to is closed


class _Deadline:
    """Ends `process` if its block lasts longer than so many seconds, and not after it.

    is_past: whether it did, by the clock too: the thread that ends it may be late.
    """

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.process, self.seconds, self.is_past, self._is_met = process, float(seconds), False, False
        self._lock = threading.Lock()
        self._timer = threading.Timer(min(self.seconds, threading.TIMEOUT_MAX), self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._started = time.monotonic()
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:  # a timer that has begun cannot be cancelled
            self._is_met = True
            self.is_past |= time.monotonic() - self._started > self.seconds
        self._timer.cancel()

    def _end(self) -> None:
        with self._lock:
            if not self._is_met:
                self.is_past = True
                self.process.kill()


def _exchange(
    process: subprocess.Popen[bytes], facts: dict[str, Any], arrays: list[NDArray[Any]]
) -> tuple[dict[str, Any], list[NDArray[Any]]] | None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        write_message(process.stdin, facts, arrays)
        return read_message(process.stdout)
    except (BrokenPipeError, ConnectionResetError):
        return None


_WORKER = _Worker()
atexit.register(_WORKER.stop)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_WORKER.after_fork)
