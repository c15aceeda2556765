"""The events in a file, each with the number of its line."""

import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from headwater.load.array import array_elements
from headwater.load.delimited import Dialect, Note, delimited_rows
from headwater.load.mapping import Columns
from headwater.load.parquet import parquet_rows
from headwater.load.pipe import Pipe
from headwater.load.row import Row
from headwater.load.source import BYTE_ORDER_MARK, Source
from headwater.rules import parse_json

BLOCK_BYTES = 196_608  # with what each event gets beside, nearly what a request takes
BLOCK_ROWS = 500


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of NDJSON, of which the first has the number `first`, without their ends, and the key of each; some may be blank."""

    first: int
    texts: list[bytes]
    keys: list[bytes]

    @property
    def numbers(self) -> list[int]:
        """The numbers of those that are not blank."""
        return [number for number, text in enumerate(self.texts, self.first) if text.strip()]

    def between(self, start: int, end: int) -> "Lines":
        """Some of them, by their places here."""
        return Lines(self.first + start, self.texts[start:end], self.keys[start:end])

    def __iter__(self) -> Iterator[Row]:
        """Their rows, read in full."""
        for number, (key, text) in enumerate(zip(self.keys, self.texts, strict=True), self.first):
            if (row := _read_line(number, key.decode(), text)) is not None:
                yield row


def _read_line(number: int, key: str, line: bytes) -> Row | None:
    """The row of a line of NDJSON; None for a blank one."""
    text = line.strip()
    if not text:
        return None
    try:
        properties = parse_json(text)
    except ValueError as error:
        return Row(number, key, None, f"is not JSON: {error}")
    if type(properties) is not dict:
        return Row(number, key, None, "is not a JSON object")
    return Row(number, key, properties)


def read_blocks(
    source: Source | Pipe,
    columns: Columns | None = None,
    *,
    dialect: Dialect | None = None,
    needed: Collection[str] = (),
    note: Note = lambda text: None,
) -> Iterator[Iterable[Row]]:
    """Every row, in order, in blocks, each to be read to its end before the next; blank lines are none. Raises FormatError, OSError, and EOFError for a cut gzip file.

    Of what is piped, a block is what has come. A column that `columns` names, or that is `needed`, must be there in CSV and Parquet. A column's name may be
    against the rules where it gets another; one with dots is within objects, as `headwater.load.mapping.path_of` says.

    CSV is written as `dialect` says, with a header and commas where it says nothing; an empty cell is no property. A column is numbers when all its cells are (without leading
    zeros, so `02134` stays text), booleans when all are true or false, else text: that takes one reading more, and `note` hears of columns in which a few texts are among numbers.
    Parquet is as headwater.load.parquet says, a JSON array as headwater.load.array.
    """
    columns = columns or Columns(())
    if isinstance(source, Pipe) or (kind := source.format()) == "ndjson":
        with source.open() as content:
            number = 1
            for lines in _lines(content):
                keys = source.row_keys(number, lines)
                if number == 1:
                    lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
                yield Lines(number, lines, keys)
                number += len(lines)
    elif kind == "parquet":
        with source.open() as content:
            yield from _blocks(
                Row(n, source.row_key(n), properties, problem)
                for n, properties, problem in parquet_rows(content, columns, needed, source.partition)
            )
    elif kind == "array":
        with source.open() as content:
            yield from _blocks(
                _read_line(n, source.row_key(n), text) or Row(n, source.row_key(n), None, "is nothing")
                for n, text in enumerate(array_elements(content), 1)
            )
    else:
        yield from _blocks(delimited_rows(source, dialect or Dialect(), columns, needed, note))


def _blocks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while block := list(itertools.islice(rows, BLOCK_ROWS)):
        yield block


def _lines(content: IO[bytes]) -> Iterator[list[bytes]]:
    """The lines of each piece that is read, without their ends."""
    begun: list[bytes] = []  # a line whose end is not read yet
    while piece := content.read1(BLOCK_BYTES):  # type: ignore[attr-defined]  # all that Source and Pipe open have it
        lines: list[bytes] = piece.split(b"\n")
        begun.append(lines[0])
        if len(lines) > 1:
            lines[0] = b"".join(begun)
            begun = [lines.pop()]
            yield lines
    if last := b"".join(begun):
        yield [last]
