"""The elements of a JSON array, one after the other as it is read: of a file that is one, or that is an extraction as Keen's API answers it."""

import re
from collections.abc import Iterator
from typing import IO

from headwater.load.source import BEGIN_BYTES, BYTE_ORDER_MARK, FormatError, begin_of_array
from headwater.rules import parse_json

PIECE_BYTES = 196_608
# Many times what an event may have: an array whose brackets or quotes are broken has no end.
ELEMENT_BYTES = 16 * 1024 * 1024

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)


def array_elements(content: IO[bytes]) -> Iterator[bytes]:
    """The text of each element, unjudged; what is around an answer's array is skipped.

    Raises FormatError, behind the elements that come before, where the array ends in the middle, its brackets do not match, or
    something follows what it is in.
    """
    text = content.read(BEGIN_BYTES).removeprefix(BYTE_ORDER_MARK)
    begin = begin_of_array(text)
    assert begin is not None
    start = position = begin.end()
    number, depth = 1, 0
    while True:
        for match in _TOKEN.finditer(text, position):
            token = match[0]
            if token == b'"':  # of a string whose end is not read yet
                break
            position = match.end()
            if token == b"{" or token == b"[":
                depth += 1
            elif token == b"," and not depth:
                yield text[start : match.start()]
                start, number = position, number + 1
            elif depth and (token == b"}" or token == b"]"):
                depth -= 1
            elif token == b"]":
                last = text[start : match.start()]
                if number > 1 or last.strip():
                    yield last
                _check_around(begin[0] + b"]" + text[position:] + content.read(ELEMENT_BYTES), number)
                return
            elif token == b"}":
                raise FormatError(f"behind element {number} of its array a bracket closes that nothing opened")
        if len(text) - start > ELEMENT_BYTES:
            raise FormatError(f"element {number} of its array has no end within {ELEMENT_BYTES >> 20} MiB")
        piece = content.read1(PIECE_BYTES)  # type: ignore[attr-defined]  # all that Source opens have it
        if not piece:
            raise FormatError(f"it ends within element {number} of its array")
        text, position, start = text[start:] + piece, position - start, 0


def _check_around(text: bytes, number: int) -> None:
    """Raises FormatError where a file is not JSON as a whole, its array's elements left out."""
    try:
        parse_json(text)
    except ValueError:
        raise FormatError(
            f"what follows its array of {number} elements is not loaded: it is another, or no JSON"
        ) from None
