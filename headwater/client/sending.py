"""What both clients know of the events that they send."""

from headwater.client.errors import ConnectError
from headwater.client.writer import Writer

EXIT_SECONDS = 10.0  # how long the interpreter's exit waits for unsent events


class Sending:
    """The counts of a writer's events, and its end. An error in the writer's place says why it is missing: nothing was sent."""

    def __init__(self, writer: Writer | ConnectError) -> None:
        self._writer = writer

    @property
    def accepted(self) -> int:
        """Events that were answered with success so far."""
        return 0 if isinstance(self._writer, ConnectError) else self._writer.accepted

    @property
    def failed(self) -> int:
        """Events that were not accepted so far; each was reported to `on_error`, or logged where there is none."""
        return 0 if isinstance(self._writer, ConnectError) else self._writer.failed

    @property
    def pending(self) -> int:
        """Events that are added and not yet answered."""
        return 0 if isinstance(self._writer, ConnectError) else self._writer.pending

    def _flush(self, timeout: float | None) -> None:
        if not isinstance(self._writer, ConnectError):
            self._writer.flush(timeout)

    def _close_writer(self, timeout: float | None) -> None:
        if not isinstance(self._writer, ConnectError):
            self._writer.close(timeout)
