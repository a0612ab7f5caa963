"""Threads for functions that are not coroutines: few, our own, and none that keeps the process from ending."""

import os
import queue
import threading
from collections.abc import Callable

# Functions in threads mostly wait; those that compute take turns anyway.
DEFAULT = min(32, (os.cpu_count() or 1) + 4)

Work = Callable[[], None]


class Threads:
    """A pool that grows up to its bound. What waits for a thread is bounded by the calls that are let in."""

    def __init__(self, most: int) -> None:
        self._most, self._started, self._idle = most, 0, threading.Semaphore(0)
        self._work: queue.SimpleQueue[Work] = queue.SimpleQueue()

    def run(self, work: Work) -> None:
        """Has this run in a thread; `work` raises nothing."""
        self._work.put(work)
        if not self._idle.acquire(blocking=False) and self._started < self._most:
            self._started += 1
            threading.Thread(target=self._serve, name=f"toolbus-{self._started}", daemon=True).start()

    def _serve(self) -> None:
        while True:
            self._work.get()()
            self._idle.release()
