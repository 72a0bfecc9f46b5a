"""Threads for what the user's own code decides. One that never comes back costs its thread; nobody waits for it."""

import queue
import threading
from collections.abc import Callable

#: more than these run at once only over hung ones
_MAX_THREADS = 64
_IDLE_S = 10.0


class Workers:
    """A few threads that run jobs; more are started while all are busy."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._n_free = 0
        self._is_closed = False

    def run(self, job: Callable[[], None]) -> None:
        """Run *job* soon, in one of the threads."""
        with self._lock:
            if self._is_closed:
                return
            if self._n_free > 0:
                self._n_free -= 1
            elif len(self._threads) < _MAX_THREADS:
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._threads.add(thread)
                thread.start()
            self._jobs.put(job)

    def close(self, wait_s: float) -> None:
        """End the threads; those that hang are left to end with the process."""
        with self._lock:
            self._is_closed = True
            threads = list(self._threads)
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(wait_s)

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                job()
                with self._lock:
                    self._n_free += 1
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
