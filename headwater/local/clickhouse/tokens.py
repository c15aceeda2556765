"""A lexer of ClickHouse's SQL, as far as telling statements apart needs it: comments, strings, names, brackets.

It follows the engine's own lexer: backslash and doubled-quote escapes, `--`, `//`, `#!`, `# ` and nested `/* */` comments,
heredocs (`$tag$...$tag$`) and typographic quotes. It works on bytes and lazily, since an INSERT may be followed by binary data.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class TokenKind(Enum):
    """What a token is."""

    WORD = "word"
    QUOTED_NAME = "quoted name"
    STRING = "string"
    NUMBER = "number"
    SYMBOL = "symbol"
    BROKEN = "broken"  # a quote, heredoc or comment that never ends: reaches to the end of the text


class Token(NamedTuple):
    """A token: `text[start:end]`, inside `depth` open brackets (a bracket itself counts as outside)."""

    kind: TokenKind
    start: int
    end: int
    depth: int
    text: bytes

    def is_word(self, *words: bytes) -> bool:
        """Whether this is one of the bare words given in upper case."""
        return self.kind is TokenKind.WORD and self.text.upper() in words

    def is_symbol(self, symbol: bytes) -> bool:
        """Whether this is the symbol given."""
        return self.kind is TokenKind.SYMBOL and self.text == symbol


_TRIVIA = re.compile(
    rb"""(?: [ \t\n\r\f\v\0]+
          | \xc2\xa0 | \xe2\x80[\x80-\x8b\xa8\xa9\xaf] | \xe3\x80\x80 | \xef\xbb\xbf
          | (?:--|//|\#[ !])[^\n]* )+""",
    re.VERBOSE,
)
_COMMENT_EDGE = re.compile(rb"/\*|\*/")
_TOKEN = re.compile(
    rb"""(?P<WORD> [A-Za-z_][A-Za-z0-9_$]* )
       | (?P<NUMBER> [0-9][A-Za-z0-9_]* (?:\.[0-9]+[A-Za-z0-9_]*)? )
       | (?P<STRING> '(?:[^'\\]|\\.|'')*' | \xe2\x80\x98.*?\xe2\x80\x99 | \$(?P<tag>[A-Za-z0-9_]*)\$.*?\$(?P=tag)\$ )
       | (?P<QUOTED_NAME> `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" | \xe2\x80\x9c.*?\xe2\x80\x9d )
       | (?P<BROKEN> (?:['"`]|/\*|\xe2\x80[\x98\x9c]) .* )
       | (?P<SYMBOL> . )""",
    re.VERBOSE | re.DOTALL,
)


def tokens(text: bytes, start: int = 0) -> Iterator[Token]:
    """The tokens of `text` from `start` on, without whitespace and comments; lazily, so the reader may stop before data."""
    depth = 0
    position = start
    while True:
        position = _skip_trivia(text, position)
        match = _TOKEN.match(text, position)
        if match is None:
            return
        kind = TokenKind[match.lastgroup or "SYMBOL"]
        value = match.group()
        position = match.end()
        if value in (b")", b"]", b"}"):
            depth = max(depth - 1, 0)
        yield Token(kind, match.start(), position, depth, value)
        if value in (b"(", b"[", b"{"):
            depth += 1


def _skip_trivia(text: bytes, position: int) -> int:
    """Where the next token starts; a comment that never ends is left to be a token."""
    while True:
        if trivia := _TRIVIA.match(text, position):
            position = trivia.end()
        after = _comment_end(text, position)
        if after is None:
            return position
        position = after


def _comment_end(text: bytes, position: int) -> int | None:
    """The end of the `/* */` comment (they nest) that starts here; None where none starts, or it never ends."""
    if not text.startswith(b"/*", position):
        return None
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge.group() == b"/*" else -1
        if depth == 0:
            return edge.end()
    return None


def literal(text: str) -> str:
    """`text` as a string literal of ClickHouse's SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted_name(name: str) -> str:
    """`name` as a quoted identifier of ClickHouse's SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
