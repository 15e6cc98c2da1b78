"""How much work something is, counted and not timed: the same on a slow machine, a busy one and an emulated one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def counted_calls() -> Iterator[Callable[[], int]]:
    """Within the block and after it, a call tells how many functions were called since its beginning.

    Those of Python and those of C that Python calls; what runs within one call of C is not seen. A reader whose time
    grows faster than its file calls functions more often.
    """
    calls, before = 0, sys.getprofile()

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        yield lambda: calls
    finally:
        sys.setprofile(before)
