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


def register(engine: Locked) -> None:
    """Let forks wait for this engine's runs, and give it a new lock in the child."""
    with _registry:
        _everyone.add(engine)


def _before() -> None:
    if _registry.acquire(timeout=PATIENCE_S):
        _held.append(_registry)
    locks = [engine.lock for engine in _everyone]
    _held.extend(lock for lock in locks if lock.acquire(timeout=PATIENCE_S))


def _in_parent() -> None:
    while _held:
        _held.pop().release()


def _in_child() -> None:
    global _registry
    _held.clear()
    _registry = threading.Lock()
    for engine in _everyone:
        engine.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
