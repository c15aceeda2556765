"""What every vendor's module gives and raises."""

import hashlib
from typing import Any, NamedTuple

from headwater.rules import CLIENT_ID_MAX, TIMESTAMP_MAX, TIMESTAMP_MIN, RuleError, parse_timestamp


class VendorEvent(NamedTuple):
    """One event of a vendor's request; collection and properties keep the rules.

    `id` and `timestamp` (milliseconds since 1970 UTC; None where nothing tells it) are the same when the vendor sends the
    event again. `addons` are Keen's.
    """

    collection: str
    properties: dict[str, Any]
    id: str
    timestamp: int | None
    addons: list[dict[str, Any]]


class SignatureError(Exception):
    """The request is not signed with the project's secret; the message says what is wrong."""


class DeliveryError(ValueError):
    """The request is none that this vendor sends; the message says what is missing."""


class MediaTypeError(DeliveryError):
    """The request's body has a format that is not read here."""


def client_id(text: str) -> str:
    """A vendor's id as an event may have it: the SHA-256 of one that is too long."""
    return text if len(text) <= CLIENT_ID_MAX else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def unix_time(value: object) -> int | None:
    """Seconds since 1970, as a number or as text, in milliseconds; None for all else, and outside the years 1900 to 2299."""
    if type(value) is str:
        try:
            value = float(value)
        except ValueError:
            return None
    if type(value) not in (int, float):
        return None
    assert isinstance(value, int | float)
    if not TIMESTAMP_MIN <= value * 1_000 <= TIMESTAMP_MAX:  # false for NaN
        return None
    return int(value * 1_000)


def iso_time(value: object) -> int | None:
    """An ISO 8601 time in milliseconds; None for all else, and outside the years 1900 to 2299."""
    try:
        return parse_timestamp(value)
    except RuleError:
        return None
