"""The `data` parameter of writes by GET: base64 in the variants that Keen's clients send."""

import base64
import binascii

from headwater.rules import RuleError

_TO_STANDARD = bytes.maketrans(b"-_ ", b"+/+")


def decode_data(value: str) -> bytes:
    """The JSON text in a `data` parameter, as UTF-8.

    Takes the standard alphabet, also where its `+` arrived as a space (keen for Python), and the URL-safe one (Ruby);
    line breaks and missing padding are put right, and so is CESU-8 (keen-js writes astral characters as two halves).
    Raises RuleError.
    """
    text = value.strip("\r\n").encode("ascii", "replace").translate(_TO_STANDARD, b"\r\n=")
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise RuleError("InvalidEventError", "Parameter 'data' is not base64.") from None
    try:
        data.decode()
    except UnicodeDecodeError:
        return _from_cesu8(data)
    return data


def _from_cesu8(data: bytes) -> bytes:
    """UTF-8 for text whose astral characters are surrogate halves of three bytes each; other bytes as they are."""
    try:
        return data.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16").encode()
    except UnicodeDecodeError:
        return data
