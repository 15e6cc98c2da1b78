"""Ctrl-C that waits for the end of a batch, so that no array is left half updated."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class StopRequest:
    """`is_set` turns True with the first Ctrl-C."""

    is_set = False


@contextlib.contextmanager
def deferred_interrupt(is_active: bool) -> Iterator[StopRequest]:
    """While active, the first Ctrl-C only sets the request; a second one raises KeyboardInterrupt at once.

    Only the main thread may handle signals; elsewhere, and where not active, nothing changes.
    """
    request = StopRequest()
    if not is_active or threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if request.is_set:
            raise KeyboardInterrupt
        request.is_set = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, before)
