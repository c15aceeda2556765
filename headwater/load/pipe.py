"""Standard input: events that are sent while they come, in bounded memory."""

import gzip
import hashlib
import io
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from headwater.load.source import BYTE_ORDER_MARK, GZIP, Source, as_uuid, is_array

HEAD_BYTES = 1_048_576
LOOK_BYTES = 65_536
GZIP_WINDOW = 31  # zlib's own number for gzip


class Pipe:
    """NDJSON, plain or gzip, that can be read once. `identity` is the SHA-256 of its first HEAD_BYTES.

    What tells a row from all others is the SHA-256 of all lines up to its own, so the same input, piped again from its
    start, has the same rows, and so has one that has grown at its end.
    """

    size = None
    partition: Mapping[str, Any] = {}  # it is in no folder

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self.identity = hashlib.sha256(head).hexdigest()
        self._input = _Joined(head, rest)
        self._zipped = head.startswith(GZIP)
        self._so_far = hashlib.sha256()

    @property
    def position(self) -> int:
        """How many bytes are read."""
        return self._input.count

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The content, unzipped where it is gzip. To be opened once."""
        content = io.BufferedReader(self._input)
        if self._zipped:
            with gzip.open(content) as unzipped:
                yield unzipped  # type: ignore[misc]  # GzipFile is a binary stream in all but its declared type
        else:
            yield content

    def row_keys(self, _first: int, texts: Iterable[bytes]) -> list[bytes]:
        """What tells each of these lines from all others, given every line once and in turn."""
        return [self._key(text) for text in texts]

    def _key(self, text: bytes) -> bytes:
        self._so_far.update(text.rstrip(b"\r\n") + b"\n")  # the last line may have no end yet
        return as_uuid(self._so_far.hexdigest()).encode()


class _Joined(io.RawIOBase):
    """What was read ahead, and then the rest."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = io.BytesIO(head)
        self._rest = rest
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # the parent's type is private
        data = self._head.read(len(buffer)) or self._read_some(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)

    def _read_some(self, most: int) -> bytes:
        """What there is now: a line must not wait for those behind it."""
        return self._rest.read1(most) if isinstance(self._rest, io.BufferedReader) else self._rest.read(most)


@contextmanager
def standard_input(stream: IO[bytes]) -> Iterator[Source | Pipe]:
    """Standard input to be loaded: as it comes where it is NDJSON and long, else as a file that is kept meanwhile.

    What is short is known as a whole, like a file; and the types of CSV columns take every row before the first is sent.
    """
    head = stream.read(HEAD_BYTES)
    if len(head) == HEAD_BYTES and _is_lines(head):
        yield Pipe(head, stream)
        return
    with tempfile.NamedTemporaryFile(prefix="headwater-load-") as copy:
        copy.write(head)
        shutil.copyfileobj(stream, copy)
        copy.flush()
        yield Source(Path(copy.name))


def _is_lines(head: bytes) -> bool:
    """Whether what begins so is NDJSON."""
    text = head[:LOOK_BYTES]
    if head.startswith(GZIP):
        try:
            text = zlib.decompressobj(GZIP_WINDOW).decompress(head, LOOK_BYTES)
        except zlib.error:
            return False  # Source says what is wrong
    text = text.removeprefix(BYTE_ORDER_MARK).lstrip()
    return text.startswith(b"{") and not is_array(text)
