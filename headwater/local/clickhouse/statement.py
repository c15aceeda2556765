"""What a statement is, and how it is rewritten for the embedded engine.

The engine takes an insert's data from a file and gives a query's result to a file, so a statement is split into its text,
its format and its data, and gets `FROM INFILE`, `file()` for `input()`, or `INTO OUTFILE`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from headwater.local.clickhouse import errors
from headwater.local.clickhouse.tokens import Token, TokenKind, literal, tokens

_QUERY_VERBS = (b"SELECT", b"WITH", b"FROM", b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"CHECK")
# Words that may stand behind a column's name; a format is called like none of them.
_AFTER_A_COLUMN = tuple(
    b"AND AS ASC BETWEEN COLLATE DESC EXCEPT FORMAT FROM GROUP HAVING ILIKE IN INTERSECT IS LIKE LIMIT NOT NULLS OFFSET OR ORDER "
    b"PREWHERE QUALIFY SETTINGS UNION WHERE WINDOW WITH".split()
)
_SELECTS = (b"SELECT", b"WITH", b"FROM")


class Kind(Enum):
    """How a statement travels through the engine."""

    QUERY = "query"  # has a result of any size: streamed out through a pipe
    INSERT = "insert"  # its data follows the text: read by the engine from a file
    COMMAND = "command"  # everything else: run as it is


@dataclass(frozen=True)
class Statement:
    """A recognised statement.

    `text` is the statement without data and terminator; `cut` is the place in it where INTO OUTFILE or FROM INFILE goes, and
    `rest` the place where the text goes on after the FORMAT clause (between them lies what is written anew).
    `data_start` is where an insert's data begins in the bytes that were recognised.
    """

    kind: Kind
    verb: str
    text: bytes
    cut: int
    rest: int
    format: str | None = None
    data_start: int | None = None
    input_calls: tuple[tuple[int, int], ...] = ()

    def into_file(self, path: str, default_format: str) -> bytes:
        """The query with its result written to `path` in its own format, or `default_format`."""
        clause = f"\nINTO OUTFILE {literal(path)} TRUNCATE COMPRESSION 'none' FORMAT {self.format or default_format} "
        return self.text[: self.cut] + clause.encode() + self.text[self.rest :]

    def from_file(self, path: str) -> bytes:
        """The insert with its data read from `path`."""
        if not self.input_calls:
            source = f"\nFROM INFILE {literal(path)} COMPRESSION 'none' ".encode()
            ending = f" FORMAT {self.format}".encode()
            return self.text[: self.cut] + source + self.text[self.cut : self.rest] + ending
        pieces: list[bytes] = []
        position = 0
        for name_start, bracket_end in self.input_calls:
            structure_follows = not self.text[bracket_end:].lstrip().startswith(b")")
            call = f"file({literal(path)}, {literal(self.format or '')}{', ' if structure_follows else ''}"
            pieces += [self.text[position:name_start], call.encode()]
            position = bracket_end
        return b"".join([*pieces, self.text[position : self.rest]])


def recognise(text: bytes) -> Statement:
    """What the bytes of a request hold.

    For an INSERT with data only the bytes up to the data are looked at.
    Raises EngineError for an empty text, for several statements at once, and for INTO OUTFILE and FROM INFILE, which
    ClickHouse refuses over HTTP too.
    """
    first = next((t for t in tokens(text) if not t.is_symbol(b"(")), None)
    if first is None or first.is_symbol(b";"):
        raise errors.refused(errors.Code.SYNTAX_ERROR, "Syntax error: the query is empty")
    verb = first.text.upper()
    if first.is_word(b"INSERT"):
        return _insert(text)
    parts = _single_statement(text)
    end = parts[-1].end
    body = text[:end]
    if verb not in _QUERY_VERBS or (verb == b"WITH" and any(t.depth == 0 and t.is_word(b"INSERT") for t in parts)):
        return Statement(Kind.COMMAND, verb.decode("ascii", "replace"), body, end, end)
    return _query(body, verb, parts)


def _single_statement(text: bytes) -> list[Token]:
    """The tokens of the one statement that the text holds, without its terminators."""
    parts: list[Token] = []
    ended = False
    for token in tokens(text):
        if token.depth == 0 and token.is_symbol(b";"):
            ended = True
        elif ended:
            raise errors.refused(errors.Code.SYNTAX_ERROR, "Syntax error: multi-statements are not allowed")
        else:
            parts.append(token)
    return parts


def _query(text: bytes, verb: bytes, parts: list[Token]) -> Statement:
    cut = rest = len(text)
    fmt = None
    for index, (token, after) in enumerate(pairwise(parts)):
        if token.depth:
            continue
        if token.is_word(b"INTO") and after.is_word(b"OUTFILE"):
            raise errors.refused(errors.Code.INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed")
        ends = index + 2 == len(parts) or parts[index + 2].is_word(b"SETTINGS")
        if token.is_word(b"FORMAT") and after.kind in (TokenKind.WORD, TokenKind.QUOTED_NAME) and ends:
            cut, rest, fmt = token.start, after.end, _name(after)
    if verb not in _SELECTS:
        # SETTINGS is part of a SELECT, but belongs to the output everywhere else, and so goes behind INTO OUTFILE.
        cut = min([cut, *(t.start for t in parts if t.depth == 0 and t.is_word(b"SETTINGS"))])
        if rest == len(text) and fmt is None:
            rest = cut
    return Statement(Kind.QUERY, verb.decode(), text, cut, rest, fmt)


def _insert(text: bytes) -> Statement:
    """An INSERT: after the table's name come, outside of brackets, [SETTINGS ...] and VALUES, FORMAT name or a SELECT."""
    stream = tokens(text)
    _skip_to_table(stream)
    cut = None  # the first of SETTINGS, VALUES and FORMAT: FROM INFILE goes before it
    select = False
    calls: list[tuple[int, int]] = []
    before: Token | None = None
    previous: Token | None = None
    for token in stream:
        if previous is not None and previous.is_word(b"INPUT") and token.is_symbol(b"(") and not _qualified(before):
            calls.append((previous.start, token.end))
        if token.depth == 0 and not _qualified(previous):
            if previous is not None and _is_format(before, previous, token) and (calls or not select):
                start = previous.start if cut is None else cut
                data = _data_start(text, token.end)
                return Statement(
                    Kind.INSERT,
                    "INSERT",
                    text[: previous.start],
                    start,
                    previous.start,
                    _name(token),
                    data,
                    tuple(calls),
                )
            if token.is_word(b"SELECT", b"WITH"):
                select = True
            elif token.is_symbol(b";"):
                break
            elif not select and token.is_word(b"SETTINGS", b"VALUES"):
                cut = token.start if cut is None else cut
                if token.is_word(b"VALUES"):
                    return Statement(Kind.INSERT, "INSERT", text[: token.start], cut, token.start, "Values", token.end)
            elif not select and token.is_word(b"INFILE") and previous is not None and previous.is_word(b"FROM"):
                raise errors.refused(errors.Code.UNKNOWN_TYPE_OF_QUERY, "FROM INFILE is not allowed")
        before, previous = previous, token
    end = _single_statement(text)[-1].end
    return Statement(Kind.COMMAND, "INSERT", text[:end], end, end)


def _skip_to_table(stream: Iterator[Token]) -> None:
    """Read past INSERT INTO [TABLE|FUNCTION] and the first part of the table's name."""
    for token in stream:
        if token.is_word(b"INTO"):
            break
    for token in stream:
        if not token.is_word(b"TABLE", b"FUNCTION"):
            break


def _qualified(token: Token | None) -> bool:
    """Whether what follows `token` is the second part of a name."""
    return token is not None and token.is_symbol(b".")


def _is_format(before: Token | None, word: Token, name: Token) -> bool:
    """Whether `word name` is a FORMAT clause, and not a column that is called format."""
    return (
        word.is_word(b"FORMAT")
        and name.kind in (TokenKind.WORD, TokenKind.QUOTED_NAME)
        and not name.is_word(*_AFTER_A_COLUMN)
        and not _qualified(before)
        and not (before is not None and before.is_word(b"AS"))
    )


def _data_start(text: bytes, position: int) -> int:
    """Where the data starts after `FORMAT name`: blanks are skipped, then one line's end, as ClickHouse does."""
    while text[position : position + 1] in (b" ", b"\t", b"\f", b"\v"):
        position += 1
    if text[position : position + 2] == b"\r\n":
        return position + 2
    if text[position : position + 1] in (b"\n", b";"):
        return position + 1
    return position


def _name(token: Token) -> str:
    raw = token.text.decode("utf-8", "replace")
    return raw if token.kind is TokenKind.WORD else raw[1:-1]
