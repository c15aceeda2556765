"""A request's body as a stream: chunked or of known length, decoded, read in bounded pieces."""

from io import BufferedIOBase

from headwater.local.clickhouse import compression, errors

PIECE = 1 << 18


class Body:
    """Reads a body from a connection. Never holds more than a few pieces in memory."""

    def __init__(self, source: BufferedIOBase, length: int | None, encoding: str) -> None:
        """`length` is the Content-Length; None for a chunked body."""
        self._source = source
        self._left = length
        self._chunked = length is None
        self._chunk_left = 0
        self._done = length == 0
        self._decoder = compression.decoder(encoding)
        self._pending = False  # the decoder may hold more of what it was fed
        self._fed = False

    def read(self) -> bytes:
        """The next piece of the decoded body; b"" at its end.

        Raises EngineError for bytes that the encoding does not allow, ConnectionError where the client is gone.
        """
        while True:
            chunk = b""
            if not self._pending:
                chunk = self._raw()
                if not chunk:
                    if self._fed and not self._decoder.finished():
                        raise _damaged("the compressed body ends in the middle")
                    return b""
                self._fed = True
            try:
                out = self._decoder.feed(chunk, PIECE * 4)
            except compression.DAMAGE as error:
                raise _damaged(str(error)) from None
            self._pending = bool(out) and not isinstance(self._decoder, compression.Plain)
            if out:
                return out

    def drain(self, limit: int) -> bool:
        """Read and drop what is left, at most `limit` raw bytes; whether the body is at its end."""
        while limit > 0:
            chunk = self._raw()
            if not chunk:
                return True
            limit -= len(chunk)
        return self._done

    def _raw(self) -> bytes:
        if self._done:
            return b""
        if self._chunked:
            return self._from_chunk()
        assert self._left is not None
        piece = self._source.read(min(PIECE, self._left))
        if not piece:
            raise ConnectionError("the client closed the connection in the middle of the body")
        self._left -= len(piece)
        self._done = self._left == 0
        return piece

    def _from_chunk(self) -> bytes:
        if self._chunk_left == 0:
            head = self._source.readline(1024).split(b";")[0].strip()
            try:
                self._chunk_left = int(head, 16)
            except ValueError:
                raise ConnectionError("the chunked body is malformed") from None
            if self._chunk_left == 0:
                while self._source.readline(65536) not in (b"\r\n", b"\n", b""):
                    pass
                self._done = True
                return b""
        piece = self._source.read(min(PIECE, self._chunk_left))
        if not piece:
            raise ConnectionError("the client closed the connection in the middle of the body")
        self._chunk_left -= len(piece)
        if self._chunk_left == 0:
            self._source.readline(16)
        return piece


def _damaged(what: str) -> errors.EngineError:
    return errors.refused(errors.Code.CANNOT_DECOMPRESS, f"Cannot decompress the body: {what}")
