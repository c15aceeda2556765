"""Standard input: what is sent while it comes, and what makes a row the same row again."""

import gzip
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import IO

import pytest

from headwater.identity import event_id
from headwater.load.pipe import HEAD_BYTES, Pipe, standard_input
from headwater.load.row import Row
from headwater.load.rows import read_blocks
from headwater.load.source import Source

LINE = b'{"text": "%s"}\n' % (b"x" * 1000)
LINES = HEAD_BYTES // len(LINE) + 10


@contextmanager
def piped(content: bytes, *, ends: bool = True) -> Iterator[IO[bytes]]:
    """A pipe's end from which `content` comes."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb") as sink:

        def write() -> None:
            sink.write(content)
            sink.flush()
            if ends:
                sink.close()

        writer = threading.Thread(target=write)
        writer.start()
        yield stream
        writer.join()


def rows(content: bytes) -> list[Row]:
    with piped(content) as stream, standard_input(stream) as source:
        return [*chain.from_iterable(read_blocks(source))]


def test_rows_come_before_the_input_ends() -> None:
    with piped(LINE * LINES + b'{"last": true}\n', ends=False) as stream, standard_input(stream) as source:
        assert isinstance(source, Pipe)
        found = chain.from_iterable(read_blocks(source))
        assert [next(found).line for _ in range(LINES + 1)] == list(range(1, LINES + 2))


@pytest.mark.parametrize("zipped", [False, True])
def test_the_same_lines_from_the_start_have_the_same_keys(zipped: bool) -> None:
    # Random text, since the head is of what comes, and zipped it has to be as long.
    lines = [b'{"text": "%s"}\n' % os.urandom(500).hex().encode() for _ in range(2 * LINES)]
    pack = gzip.compress if zipped else bytes
    short, long = rows(pack(b"".join(lines).rstrip())), rows(pack(b"".join([*lines, LINE])))
    assert [row.key for row in short] == [row.key for row in long[:-1]]
    assert [event_id("any project", row.key) for row in short] == [row.key for row in short]
    assert len({row.key for row in long}) == len(long)
    other = rows(pack(b"".join([lines[0], LINE, *lines[2:]])))
    assert [row.line for row in other if row.key == long[row.line - 1].key] == [1]
    assert [row.properties for row in other[2:]] == [row.properties for row in long[2:-1]]


ARRAY = b"[" + b",".join([LINE] * LINES) + b"]"


@pytest.mark.parametrize(
    "content",
    [
        LINE,
        b"a,b\n" + b"1,2\n" * HEAD_BYTES,
        b"",
        b"\x1f\x8bno gzip" + LINE * LINES,
        ARRAY,
        b'{"result": ' + ARRAY + b"}",
    ],
    ids=["short", "CSV", "nothing", "no gzip", "array", "answer"],
)
def test_all_else_is_kept_as_a_file(content: bytes) -> None:
    with piped(content) as stream, standard_input(stream) as source:
        assert isinstance(source, Source)
        assert source.path.read_bytes() == content


def test_an_answer_of_any_length_is_its_events() -> None:
    assert [row.line for row in rows(b'{"result": ' + ARRAY + b"}")] == list(range(1, LINES + 1))
