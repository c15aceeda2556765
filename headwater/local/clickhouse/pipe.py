"""A named pipe through which the engine hands a result over while it is still computing it."""

import contextlib
import fcntl
import os
import select
import socket
import sys
from pathlib import Path

_CAPACITY = 1 << 20


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
        if sys.platform == "linux":
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
        poll.register(client, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if client.fileno() in ready:
                if _is_gone(client):
                    raise ClientGoneError
                poll.unregister(client)  # it sent its next request already, and waits for this one's answer
            if self._reader in ready:
                with contextlib.suppress(BlockingIOError):
                    return os.read(self._reader, _CAPACITY)

    def close(self) -> None:
        """Close the reader's end, once: whoever still writes gets an error. Removes the pipe."""
        if self._reader >= 0:
            os.close(self._reader)
        self._reader = -1
        self.path.unlink(missing_ok=True)


def _is_gone(client: socket.socket) -> bool:
    """Whether a socket that is ready to be read has come to its end."""
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
