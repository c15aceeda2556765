"""A named pipe through which the engine hands a result over while it is still computing it."""

import contextlib
import fcntl
import os
import select
import socket
from pathlib import Path

_CAPACITY = 1 << 20
_POLLRDHUP = 0x2000  # Linux: the peer closed its end or its writing half; select has no name for it before 3.12


class ClientGoneError(Exception):
    """The client closed the connection while its statement ran."""


class ResultPipe:
    """The reader's end of a pipe, and a writer's end that marks the statement as running.

    The end of the stream comes when the engine and the writer's end are both closed, so one read tells both
    "there is more" and "the statement is over".
    """

    def __init__(self, path: Path) -> None:
        """Make the pipe at `path`."""
        self.path = path
        os.mkfifo(path, 0o600)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._writer = os.open(path, os.O_WRONLY)
        with contextlib.suppress(OSError):  # beyond the user's limit the default 64 KiB stay: slower, not wrong
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, _CAPACITY)

    def statement_over(self) -> None:
        """The engine is done with the statement: what is in the pipe is all. Called by the thread that ran it."""
        os.close(self._writer)

    def read(self, client: socket.socket) -> bytes:
        """The next piece of the result; b"" when the statement is over. Blocks.

        Raises ClientGoneError when the client closes its connection meanwhile.
        """
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.register(client, _POLLRDHUP | select.POLLHUP | select.POLLERR)
        while True:
            events = dict(poll.poll())
            if client.fileno() in events:
                raise ClientGoneError
            if self._reader in events:
                try:
                    return os.read(self._reader, _CAPACITY)
                except BlockingIOError:
                    continue

    def close(self) -> None:
        """Close the reader's end, once: whoever still writes gets an error. Removes the pipe."""
        if self._reader >= 0:
            os.close(self._reader)
        self._reader = -1
        self.path.unlink(missing_ok=True)
