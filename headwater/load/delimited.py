"""Rows of delimited text, such as CSV: how it is written, what its header names, and what its cells mean."""

import codecs
import csv
import io
import itertools
import re
import shlex
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import IO, Any, TypeAlias

from headwater.load.mapping import Columns, check_columns, nested, path_of
from headwater.load.row import Row
from headwater.load.source import FormatError, Source
from headwater.rules import RuleError

# What every cell of a column must match to be a number or a boolean. A leading zero or plus makes a code, not a number.
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
LONGEST_CELL = 10_000_000
STRANGERS = 3  # so few texts among a column's numbers, and they are told
OTHER_DELIMITERS = {"\t": "tab", ";": "';'", "|": "'|'", ",": "','"}  # as --delimiter takes them
UNDECIDED_ROWS = 1_000  # so long a column of few texts may still be one of numbers

OTHER_ENCODING = "--encoding says what the file is in, such as latin-1 or utf-16"

TWICE = " (within quotes, a quote is written twice)"

Record: TypeAlias = tuple[int, list[str], str]  # the number of its first line, its cells, what is wrong with it
Read: TypeAlias = Callable[[str], Any]
Note: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How delimited text is written. Raises FormatError for what cannot be.

    `header` are the columns' names where the file has none; `nulls` what stands in cells without a value, beside nothing; `texts` the
    columns that are text, whatever it looks like.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    header: tuple[str, ...] = ()
    nulls: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise FormatError(f"--delimiter {self.delimiter!r} is not one character, or 'tab'")
        try:
            codecs.lookup(self.encoding)
            io.TextIOWrapper(io.BytesIO(), self.encoding)  # which takes none that are no text
        except (LookupError, ValueError):
            raise FormatError(
                f"--encoding {self.encoding!r} is not known; such as utf-8, latin-1, cp1252, utf-16"
            ) from None

    def described(self) -> str:
        """The same text for the same dialect, in every process."""
        nulls, texts = sorted(self.nulls - {""}), sorted(self.texts)
        return repr((self.delimiter, codecs.lookup(self.encoding).name, self.header, nulls, texts))

    @property
    def is_utf8(self) -> bool:
        """Whether bytes that are none can be told, and refused with their row."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")


def delimited_rows(
    source: Source, dialect: Dialect, columns: Columns, needed: Collection[str], note: Note
) -> Iterator[Row]:
    """The rows, as `headwater.load.rows.read_blocks` says. Takes a reading more, for the types of columns. Raises FormatError."""
    with source.open() as content:
        records = _records(content, dialect)
        header = _header(records, dialect, columns)
        check_columns([*header, *source.partition], [*columns.names, *sorted(dialect.texts)], needed)
        readers = _readers(records, header, dialect, note)
    nulls = dialect.nulls | {""}
    paths = [path_of(name, columns) for name in header]
    flat = all(len(path) == 1 for path in paths)
    with source.open() as content:
        for number, cells, bad in itertools.islice(_records(content, dialect), 0 if dialect.header else 1, None):
            problem = bad or _problem(cells, header)
            properties: dict[str, Any] | None = None
            if not problem and flat:
                triples = zip(header, readers, cells, strict=True)
                properties = {name: read(cell) for name, read, cell in triples if cell not in nulls}
            elif not problem:
                places = zip(paths, readers, cells, strict=True)
                try:
                    properties = nested((path, read(cell)) for path, read, cell in places if cell not in nulls)
                except ValueError as error:
                    problem = str(error)
            yield Row(number, source.row_key(number), properties, problem)


def _problem(cells: list[str], header: list[str]) -> str:
    """What is wrong with a row; nothing mostly."""
    if len(cells) != len(header):
        return f"has {len(cells)} cells where the header has {len(header)}"
    text = "".join(cells)
    if "\0" in text:
        return f"has NUL characters: {OTHER_ENCODING}"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return f"has bytes that are not UTF-8: {OTHER_ENCODING}"
    return ""


def _records(content: IO[bytes], dialect: Dialect) -> Iterator[Record]:
    """The records; closes `content`. Bytes that are no UTF-8 are kept, for their row to be refused."""
    csv.field_size_limit(LONGEST_CELL)
    encoding, errors = ("utf-8-sig", "surrogateescape") if dialect.is_utf8 else (dialect.encoding, "strict")
    with io.TextIOWrapper(content, encoding, errors, newline="") as text:
        lines = _Remembered(text)
        # Strict, since a quote that nothing ends would take in the rows behind it without a word.
        reader = csv.reader(lines, delimiter=dialect.delimiter, strict=True)
        line = 1
        while True:
            cells, problem = [], ""
            lines.read.clear()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # Behind an odd number of quotes nobody knows whether what follows is within some.
                if "expected after" not in str(error) or sum(each.count('"') for each in lines.read) % 2:
                    raise FormatError(f"line {line} is not CSV: {error}{TWICE}") from None
                problem = f"is not CSV: {error}{TWICE}"
            except UnicodeError as error:
                raise FormatError(f"it is not {dialect.encoding}: {error}") from None
            if cells or problem:
                yield line, cells, problem
            line = reader.line_num + 1


class _Remembered(Iterator[str]):
    """Lines of text; `read` has those that were read since it was cleared."""

    def __init__(self, text: Iterator[str]) -> None:
        self._text = text
        self.read: list[str] = []

    def __next__(self) -> str:
        line = next(self._text)
        self.read.append(line)
        return line


def _header(records: Iterator[Record], dialect: Dialect, columns: Columns) -> list[str]:
    """The names of the columns. Raises FormatError where they name no properties."""
    header = list(dialect.header)
    if not header:
        _, cells, problem = next(records, (1, [], ""))
        if not (cells or problem):
            raise FormatError("it is empty")
        if problem:
            raise FormatError(f"its header {problem}")
        header = [name.removeprefix("\ufeff").strip() for name in cells]
    _check_written(header, dialect)
    for name in header:
        try:
            columns.check(name)
        except RuleError as error:
            way_out = f"--map {shlex.quote(name)}=PROPERTY gives it another name, --fix-names _ for dots and $"
            raise FormatError(f"its header cannot be used: {error.description} {way_out}") from None
    if len(set(header)) != len(header):
        raise FormatError("its header names a column twice")
    return header


def _check_written(header: list[str], dialect: Dialect) -> None:
    """Raises FormatError where the text is not what it was taken for."""
    text = "".join(header)
    if "\0" in text:
        raise FormatError(f"it has NUL characters: {OTHER_ENCODING}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FormatError(f"its header is not UTF-8: {OTHER_ENCODING}") from None
    if not dialect.is_utf8 and text.startswith(("{", "[")):
        raise FormatError("it is JSON, which has to be UTF-8")
    if len(header) != 1:
        return
    if text.startswith("<"):
        raise FormatError("it begins as XML and HTML do, which this cannot load")
    for delimiter, name in OTHER_DELIMITERS.items():
        if delimiter in text and dialect.delimiter != delimiter:
            raise FormatError(
                f"its header is one column {text[:80]!r}: if that stands between columns, give --delimiter {name}"
            )


def _readers(records: Iterator[Record], header: list[str], dialect: Dialect, note: Note) -> list[Read]:
    """How each column is read: as numbers or booleans where all cells with a value are, else as text."""
    numbers = {column for column, name in enumerate(header) if name not in dialect.texts}
    booleans = set(numbers)
    with_numbers: set[int] = set()
    strangers: dict[int, dict[str, int]] = {}  # by column, texts among the numbers and the first line of each
    nulls = dialect.nulls | {""}
    for read, (line, cells, _) in enumerate(records):
        if read == UNDECIDED_ROWS:
            numbers -= strangers.keys() - with_numbers
        if len(cells) != len(header):
            continue
        for column in [*numbers]:
            cell = cells[column]
            if cell in nulls:
                continue
            if NUMBER.fullmatch(cell):
                with_numbers.add(column)
                continue
            strangers.setdefault(column, {}).setdefault(cell, line)
            if len(strangers[column]) > STRANGERS:
                numbers.discard(column)
        booleans -= {column for column in booleans if cells[column] not in nulls and cells[column] not in BOOLEANS}
        if not numbers and not booleans:
            break
    for column in sorted(numbers & with_numbers & strangers.keys()):
        name = header[column]
        told = ", ".join(f"{cell[:40]!r} in line {line}" for cell, line in strangers[column].items())
        note(
            f"{name!r} is text, because of {told}; else it has numbers. --null TEXT takes such a text for no value, --text {shlex.quote(name)} says that it is right."
        )
    numbers -= strangers.keys()
    return [
        number if column in numbers else BOOLEANS.__getitem__ if column in booleans else str
        for column in range(len(header))
    ]


def number(text: str) -> int | float:
    """A cell that matches NUMBER: an integer where it is written as one."""
    return float(text) if "." in text or "e" in text or "E" in text else int(text)
