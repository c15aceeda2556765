"""Threads that store batches beside the consumer's own."""

import queue
import threading
from collections.abc import Callable

from sinks.batches import Batch


class Inserters:
    """Stores up to `count` batches at a time. `start` and `finished` are for one thread.

    The threads are daemons: a server that is silent for a minute must not hold up a process that was told to stop.
    """

    def __init__(self, store: Callable[[Batch], None], count: int) -> None:
        self._store = store
        self._count = count
        self._jobs: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Batch, Exception | None]] = queue.SimpleQueue()
        self.running = 0
        for number in range(count):
            threading.Thread(target=self._work, name=f"inserter-{number + 1}", daemon=True).start()

    @property
    def free(self) -> bool:
        """Whether another batch can be started at once."""
        return self.running < self._count

    def start(self, batch: Batch) -> None:
        """Have a batch stored. Never blocks."""
        self.running += 1
        self._jobs.put(batch)

    def finished(self, timeout: float = 0.0) -> list[tuple[Batch, Exception | None]]:
        """Batches that are done, each with what `store` raised. Blocks up to `timeout` seconds for the first."""
        found: list[tuple[Batch, Exception | None]] = []
        try:
            while True:
                found.append(self._results.get(timeout=0.0 if found else timeout))
        except queue.Empty:
            self.running -= len(found)
            return found

    def _work(self) -> None:
        while True:
            batch = self._jobs.get()
            try:
                self._store(batch)
            except Exception as error:  # whatever it is, the consumer's thread decides what follows
                self._results.put((batch, error))
            else:
                self._results.put((batch, None))
