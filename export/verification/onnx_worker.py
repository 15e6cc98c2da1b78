"""The child process of `foreign_session`: it runs somebody's ONNX files under limits, request by request.

A message is one line of JSON and the `.npy` bytes of the arrays that it names, whose lengths the line states. Nothing
is unpickled on either side. A request opens a session or runs it; the answer holds its outputs or an error.
"""

from __future__ import annotations

import io
import json
import mmap
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from edge_runtime.array_types import Array
from export.verification.onnx_session import make_session


def write_message(stream: IO[bytes], facts: dict[str, Any], arrays: Sequence[Array] = ()) -> None:
    """Send `facts` and `arrays`."""
    parts = []
    for array in arrays:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        parts.append(buffer.getvalue())
    line = json.dumps({**facts, "lengths": [len(part) for part in parts]})
    stream.write(line.encode() + b"\n" + b"".join(parts))
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], list[Array]] | None:
    """The next message; None at the end of the stream, or if it ends within a message."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    facts = json.loads(line)
    parts = [stream.read(length) for length in facts["lengths"]]
    if [len(part) for part in parts] != facts["lengths"]:
        return None
    return facts, [np.load(io.BytesIO(part), allow_pickle=False) for part in parts]


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sessions: dict[int, _Session] = {}
    while (message := read_message(requests)) is not None:
        facts, arrays = message
        try:
            found, values = _answer(sessions, facts, arrays)
        except Exception as error:  # onnxruntime's types are private, and MemoryError belongs here too
            found, values = {"error": str(error) or type(error).__name__, "memory": _is_memory(error)}, []
        write_message(answers, found, values)


@dataclass
class _Session:
    """One session, None until it is open; memory_bytes: what it may take; taken: by what it did up to now."""

    memory_bytes: int
    taken: int = 0
    opened: Any = None


def _answer(
    sessions: dict[int, _Session], facts: dict[str, Any], arrays: list[Array]
) -> tuple[dict[str, Any], list[Array]]:
    number = facts["session"]
    if facts["do"] == "close":
        sessions.pop(number, None)
        return {}, []
    if facts["do"] == "open":
        sessions[number] = _Session(facts["memory_bytes"])
    session = sessions[number]
    before = _address_space()
    _limit_memory(before - session.taken + session.memory_bytes)  # of this session: the others have theirs
    try:
        if facts["do"] == "run":
            return _run(session.opened, facts, arrays)
        session.opened = _open(facts, arrays)
        return {"outputs": [output.name for output in session.opened.get_outputs()]}, []
    except BaseException:
        if session.opened is None:
            del sessions[number]
        raise
    finally:
        session.taken += _address_space() - before


def _is_memory(error: Exception) -> bool:
    words = ("bad_alloc", "bad allocation", "Failed to allocate", "failed to allocate")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def _open(facts: dict[str, Any], arrays: list[Array]) -> Any:
    return make_session(
        arrays[0].tobytes(), facts["level"], threads=facts["threads"], config=[tuple(pair) for pair in facts["config"]]
    )


def _address_space() -> int:
    """Bytes of it. Only Linux says how large it is, and keeps a limit; 0 elsewhere."""
    if not sys.platform.startswith("linux"):
        return 0
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * mmap.PAGESIZE


def _limit_memory(limit: int) -> None:
    """Let the address space grow up to `limit` bytes."""
    if not sys.platform.startswith("linux"):
        return
    import resource  # Unix has it, Windows has not

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))


def _run(session: Any, facts: dict[str, Any], arrays: list[Array]) -> tuple[dict[str, Any], list[Array]]:
    found = session.run(facts["outputs"] or None, dict(zip(facts["inputs"], arrays, strict=True)))
    values = [_plain(value) for value in found]
    kinds = ["array" if isinstance(value, np.ndarray) else "rows" for value in values]
    rows = [value for value in values if not isinstance(value, np.ndarray)]
    return {"kinds": kinds, "rows": rows}, [value for value in values if isinstance(value, np.ndarray)]


def _plain(value: Any) -> Any:
    """An array that `.npy` can hold without pickle; a classifier's dictionaries as lists of pairs."""
    if isinstance(value, np.ndarray):
        return value.astype(str) if value.dtype == object else value
    return [list(row.items()) for row in value]


if __name__ == "__main__":
    main()
