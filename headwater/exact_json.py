"""JSON of answers, whose integers may need more than 64 bits, as sums do: orjson where it can, the standard library where it cannot."""

import json
import re
from typing import Any

import orjson

_LONG_INTEGER = re.compile(rb"[0-9]{19}")


def loads(text: bytes) -> Any:
    """The value of JSON text, its integers exact. Raises ValueError."""
    return json.loads(text) if _LONG_INTEGER.search(text) else orjson.loads(text)


def dumps(value: Any) -> bytes:
    """A value as JSON text, its integers exact. Raises TypeError for what JSON does not have."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
