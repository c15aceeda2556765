"""A bulk body that is not JSON, cut into its events, so that one broken event does not take the others with it."""

import re

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{},:]', re.DOTALL)
_SPACE = b" \t\r\n"
_CLOSES = {b"{": b"}", b"[": b"]"}


def split_batch(body: bytes) -> list[tuple[bytes, list[bytes]]] | None:
    """The raw texts of `{"name": [event, ...], ...}`: each name in its quotes, with the texts of its events, unjudged.

    None where the brackets and quotes themselves are broken, so that it cannot be said where an event ends.
    """
    found: list[tuple[bytes, list[bytes]]] = []
    closers: list[bytes] = []  # what has to close, innermost last
    expected = b"{"  # outside the events: the next token; b'"' stands for a name, b"," for a comma or a closing
    start = position = 0
    for match in _TOKEN.finditer(body):
        token = match.group()
        if token == b'"':
            return None
        depth = len(closers)
        if depth < 2:
            if body[position : match.start()].strip(_SPACE):
                return None
            position = match.end()
            if depth == 0:
                if token != expected:
                    return None
                closers.append(b"}")
                expected = b'"}'
            elif token[:1] == b'"' and b'"' in expected:
                found.append((token, []))
                expected = b":"
            elif token == b":" and expected == b":":
                expected = b"["
            elif token == b"[" and expected == b"[":
                closers.append(b"]")
                start = match.end()
                expected = b",}"
            elif token == b"," and expected == b",}":
                expected = b'"'
            elif token == b"}" and b"}" in expected:
                closers.pop()
                expected = b"nothing"
            else:
                return None
        elif token in _CLOSES:
            closers.append(_CLOSES[token])
        elif token in (b"]", b"}"):
            if token != closers.pop():
                return None
            if len(closers) == 1:
                text = body[start : match.start()].strip(_SPACE)
                if text or found[-1][1]:
                    found[-1][1].append(text)
                position = match.end()
        elif token == b"," and depth == 2:
            found[-1][1].append(body[start : match.start()].strip(_SPACE))
            start = match.end()
    return None if closers or expected != b"nothing" or body[position:].strip(_SPACE) else found
