"""Threads for functions that are not coroutines: few, our own, and none that keeps the process from ending."""

import os
import queue
import threading
from collections.abc import Callable

# Functions in threads mostly wait; those that compute take turns anyway.
DEFAULT = min(32, (os.cpu_count() or 1) + 4)

# Threads whose function goes on though nobody waits for it any more. Each holds some MiB of stack at worst; who has that
# many needs another process.
MAX_LOST = 128

Work = Callable[[], None]


class Job:
    """Some work, and how far it is."""

    __slots__ = ("is_lost", "is_running", "work")

    def __init__(self, work: Work) -> None:
        self.work, self.is_running, self.is_lost = work, False, False


class Threads:
    """A pool that grows up to its bound. What waits for a thread is bounded by the calls that are let in.

    A thread whose function does not end though its call has is given up: another one takes its place.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._work: queue.SimpleQueue[Job] = queue.SimpleQueue()
        # Threads, those that are given up, those that nothing is meant for, and jobs that no thread is meant for.
        self._threads, self._lost, self._spare, self._waiting = 0, 0, 0, 0

    @property
    def lost(self) -> int:
        """Threads that are given up and still run."""
        return self._lost

    @property
    def is_stuck(self) -> bool:
        """Whether a job may wait for ever: all threads are given up, and no more may be."""
        return self._lost >= MAX_LOST

    def run(self, work: Work) -> Job:
        """Has this run in a thread; `work` raises nothing."""
        job = Job(work)
        self._work.put(job)
        with self._lock:
            if self._spare:
                self._spare -= 1
            else:
                self._waiting += 1
                self._grow()
        return job

    def give_up(self, job: Job) -> None:
        """Nobody waits for this one any more. While it goes on, it takes no place."""
        with self._lock:
            if job.is_running and not job.is_lost and self._lost < MAX_LOST:
                job.is_lost = True
                self._lost += 1
                self._grow()

    def _grow(self) -> None:
        if self._waiting and self._threads < self._most + self._lost:
            self._waiting -= 1
            self._threads += 1
            threading.Thread(target=self._serve, name=f"toolbus-{self._threads}", daemon=True).start()

    def _serve(self) -> None:
        is_needed = True
        while is_needed:
            job = self._work.get()
            job.is_running = True
            job.work()
            is_needed = self._ended(job)

    def _ended(self, job: Job) -> bool:
        with self._lock:
            job.is_running = False
            self._lost -= job.is_lost
            if self._threads > self._most + self._lost:
                self._threads -= 1
                return False
            if self._waiting:
                self._waiting -= 1
            else:
                self._spare += 1
            return True
