"""The child process of `foreign_session`: it runs somebody's ONNX files under limits, request by request.

A message is one line of JSON and the `.npy` bytes of the arrays that it names, whose lengths the line states. Nothing
is unpickled on either side. A request opens a session or runs it; the answer holds its outputs or an error.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from export.verification.onnx_session import make_session

Array = NDArray[Any]


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
    sessions: dict[int, Any] = {}
    while (message := read_message(requests)) is not None:
        facts, arrays = message
        try:
            found, values = _answer(sessions, facts, arrays)
        except Exception as error:  # onnxruntime's types are private, and MemoryError belongs here too
            found, values = {"error": str(error) or type(error).__name__, "memory": _is_memory(error)}, []
        write_message(answers, found, values)


def _answer(sessions: dict[int, Any], facts: dict[str, Any], arrays: list[Array]) -> tuple[dict[str, Any], list[Array]]:
    number = facts["session"]
    if facts["do"] == "open":
        sessions[number] = _open(facts, arrays)
        return {"outputs": [output.name for output in sessions[number].get_outputs()]}, []
    if facts["do"] == "close":
        sessions.pop(number, None)
        return {}, []
    return _run(sessions[number], facts, arrays)


def _is_memory(error: Exception) -> bool:
    words = ("bad_alloc", "bad allocation", "Failed to allocate", "failed to allocate")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def _open(facts: dict[str, Any], arrays: list[Array]) -> Any:
    _limit_memory(facts["memory_bytes"])
    return make_session(
        arrays[0].tobytes(), facts["level"], threads=facts["threads"], config=[tuple(pair) for pair in facts["config"]]
    )


def _limit_memory(more: int) -> None:
    """Let the address space grow by `more` bytes from here. Only Linux says how large it is, and keeps the limit."""
    if not sys.platform.startswith("linux"):
        return
    import resource  # Unix has it, Windows has not

    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = pages * resource.getpagesize() + more
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
