"""JSON as some clients write it: with NaN, infinities, and text that is cut in the middle of a character."""

import json
import math
from typing import Any

from headwater.rules import INT_MAX

EXACT_DIGITS = 20  # of the longest integer that may fit 64 bits; converting endless ones could be made expensive


def parse_lenient(text: bytes) -> Any:
    """The JSON value of a text: NaN, infinities and floats beyond range are None, what is no UTF-8 and halves of surrogate
    pairs become replacement characters, a byte order mark is passed over. Integers beyond 64 bits stay beyond.

    For texts that strict JSON refuses: it takes many times as long. Raises ValueError for what is no JSON like this either.
    """
    try:
        value = json.loads(
            text.decode("utf-8-sig", "replace"),
            parse_constant=lambda name: None,
            parse_float=_finite,
            parse_int=lambda digits: int(digits) if len(digits) <= EXACT_DIGITS else INT_MAX + 1,
        )
        if b"\\ud" not in text.lower():
            return value
        whole = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return json.loads(whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None
