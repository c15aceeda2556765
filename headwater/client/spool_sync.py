"""Bringing what was appended to files onto the disk itself, behind the back of those who append."""

import logging
import os
import threading
from collections import deque
from pathlib import Path

log = logging.getLogger("headwater.client")

SYNC_SECONDS = 1.0  # what was added in so many seconds may be lost with the machine's power


class Syncer:
    """A thread that syncs a folder's files within a second or so of each write. It starts with the first one, and it alone closes files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._dirty = threading.Event()
        self._stop = threading.Event()
        self._current: int | None = None
        self._noted: int | None = None  # the file that will be synced without another word
        self._named: int | None = None  # the file whose entry in the folder is synced
        self._retired: deque[int] = deque()
        self._thread: threading.Thread | None = None

    def written(self, descriptor: int) -> None:
        """Note that something was appended to a file; to one at a time."""
        if self._noted == descriptor:
            return
        self._current = self._noted = descriptor
        self._wake()

    def retire(self, descriptor: int) -> None:
        """Sync and close a file that nothing more is appended to."""
        self._retired.append(descriptor)
        self._wake()

    def close(self) -> None:
        """Sync what is left, close the files that were retired, and stop."""
        self._stop.set()
        self._dirty.set()
        if self._thread is not None:
            self._thread.join()
        self._sync()

    def _wake(self) -> None:
        self._dirty.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="headwater-spool-sync", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._dirty.wait()
            self._stop.wait(SYNC_SECONDS)
            self._dirty.clear()  # first: what is written from here on is for the next time
            self._noted = None
            self._sync()

    def _sync(self) -> None:
        try:
            current = self._current
            while self._retired:
                descriptor = self._retired.popleft()
                if self._current == descriptor:
                    self._current = None
                if current == descriptor:
                    current = None
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
            if current is not None:
                os.fdatasync(current)
            if current != self._named:
                folder = os.open(self._folder, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
                self._named = current
        except OSError:
            log.exception("the spool %s could not be synced", self._folder)
