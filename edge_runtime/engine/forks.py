"""What happens to engines when a process forks while threads run them.

A child inherits locks as they were at the fork, and no thread to release them: an engine's own, and one inside OpenBLAS
that every product takes for a moment, which would hang the child's first product. So a fork waits until no engine is
in the middle of a run.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

PATIENCE_S = 1.0  # a fork from a signal handler in the middle of a run would wait for itself


class Locked(Protocol):
    """Something that runs under a lock."""

    lock: threading.Lock


_registry = threading.Lock()
_everyone: weakref.WeakSet[Locked] = weakref.WeakSet()
_held: list[threading.Lock] = []
_gate = threading.Lock()  # held during a fork

is_near = False  # whether a fork waits: a thread that runs an engine again and again would hardly let it in


def register(engine: Locked) -> None:
    """Let forks wait for this engine's runs, and give it a new lock in the child."""
    with _registry:
        _everyone.add(engine)


def let_pass() -> None:
    """Wait until the fork that is near has happened. For a thread that is about to begin a run."""
    if _gate.acquire(timeout=PATIENCE_S):
        _gate.release()


def _before() -> None:
    global is_near
    _hold(_gate)
    is_near = True
    _hold(_registry)
    for lock in [engine.lock for engine in _everyone]:
        _hold(lock)


def _hold(lock: threading.Lock) -> None:
    if lock.acquire(timeout=PATIENCE_S):
        _held.append(lock)


def _in_parent() -> None:
    global is_near
    is_near = False
    while _held:
        _held.pop().release()


def _in_child() -> None:
    global is_near, _gate, _registry
    is_near = False
    _held.clear()
    _gate, _registry = threading.Lock(), threading.Lock()
    for engine in _everyone:
        engine.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
