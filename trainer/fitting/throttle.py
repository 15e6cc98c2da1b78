"""A slower clock: simulated hardware that takes longer for the same work."""

from __future__ import annotations

import time

_SMALLEST_WAIT_S = 0.002  # shorter waits are collected: a sleep wakes up late by about 0.1 ms


class Throttle:
    """Makes work take `factor` times as long as it did, by waiting after it. 1.0 does nothing."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.is_active = factor > 1.0
        self.start()

    def start(self) -> None:
        """Work begins now; what was owed is forgotten."""
        self._mark, self._owed = time.perf_counter(), 0.0

    def catch_up(self, is_last: bool = False) -> None:
        """Wait for the work since the last call. Very short waits are put off, unless it is the last call."""
        if not self.is_active:
            return
        now = time.perf_counter()
        self._owed += (now - self._mark) * (self.factor - 1.0)
        self._mark = now
        if self._owed > _SMALLEST_WAIT_S or (is_last and self._owed > 0):
            time.sleep(self._owed)
            after = time.perf_counter()
            self._owed -= after - now  # below zero where the sleep was too long: the next one is shorter
            self._mark = after
