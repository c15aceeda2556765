"""Vendors' events made acceptable: nobody can ask a vendor to send other names, so what the rules refuse is changed here.

Every change depends on the event alone, so an event that is sent again is the same. docs/webhooks.md lists the changes.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any

import orjson

from collector.webhooks.vendor_event import DeliveryError
from headwater.rules import (
    COLLECTION_NAME_MAX,
    INT_MAX,
    INT_MIN,
    PROPERTY_NAME_MAX,
    RuleError,
    check_collection_name,
    check_property_name,
    parse_values,
)

RESERVED = "keen"  # at the top of an event
CUT_TO = "headwater_cut_to"  # the property that says that an event was cut
VALUES_MAX = (
    1_000_000  # 25 MiB of GitHub's have half as many; millions more would stop everybody else while they are read
)
DEPTH_MAX = 200  # what orjson can write, with room for what stands around it
_CUTS = (100_000, 30_000, 10_000, 3_000, 1_000, 300, 100, 30, 10, 3, 1, 0)
_LONGEST_INTEGER = 20  # characters of the longest integer that may fit
_HASH = 16  # characters


def parse(text: bytes) -> Any:
    """The JSON value of a vendor's text, each value as an event may have it.

    Integers beyond 64 bits and numbers beyond floats become their digits as text, NaN and infinities null, and what is not
    Unicode U+FFFD. Raises DeliveryError for what is no JSON even so, is nested about a thousand levels deep, or has more than
    VALUES_MAX values.
    """
    if text.count(b",") >= VALUES_MAX:
        raise DeliveryError(f"The body has more than {VALUES_MAX:,} values.")
    try:
        value, good = parse_values(text)
        if good:
            return value
    except ValueError:
        pass
    try:
        plain = text.decode("utf-8", "replace").removeprefix("\ufeff")
        value = json.loads(plain, parse_int=_integer, parse_float=_float, parse_constant=lambda _: None)
        return _unicode(value)
    except RecursionError:
        raise DeliveryError("The body is nested too deeply.") from None
    except ValueError:
        raise DeliveryError("The body is not JSON.") from None


def acceptable(event: dict[str, Any], max_depth: int, reserved: Iterable[str] = ()) -> dict[str, Any]:
    """A parsed event with names and nesting that keep the rules, and without `keen` and `reserved` at its top.

    In names a dot and a leading $ become _, blank ones are _, long ones end in a hash, reserved ones have _ behind; where
    that is a name that the object has, a number follows. What is nested deeper than `max_depth`, the event being 1, becomes
    JSON text.
    """
    return _object(event, min(max_depth, DEPTH_MAX), frozenset({RESERVED, *reserved}))


def acceptable_collection(name: str) -> str:
    """A collection's name made of a vendor's: itself where the rules take it.

    Else $ and what is not printable ASCII become _, as do dots at the end; `event` goes in front of _ and dots; and a name
    that is still too long ends in a hash of the whole.
    """
    if _is_collection(name):
        return name
    plain = "".join(one if one.isascii() and one.isprintable() and one != "$" else "_" for one in name).strip()
    inner = plain.rstrip(".")
    plain = inner + "_" * (len(plain) - len(inner))
    if not plain or plain[0] in "_.":
        plain = "event" + plain
    if _is_collection(plain):
        return plain
    return f"{plain[: COLLECTION_NAME_MAX - 1 - _HASH]}_{_hash(name)}"


def fitted(event: dict[str, Any], max_bytes: int) -> dict[str, Any]:
    """The event where its JSON has no more than `max_bytes`. Else texts, lists and objects are cut to so many characters and
    members that it has, and `headwater_cut_to` says how many."""
    if len(orjson.dumps(event)) <= max_bytes:
        return event
    for most in _CUTS:
        cut: dict[str, Any] = _cut(event, most) | {CUT_TO: most}
        if len(orjson.dumps(cut)) <= max_bytes:
            break
    return cut


def _object(members: dict[str, Any], levels: int, reserved: frozenset[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    refused: list[str] = []
    for name, value in members.items():
        if name in reserved or not _is_property(name):
            refused.append(name)
        else:
            made[name] = _value(value, levels - 1)
    for name in refused:
        good = _name(name)
        number, free = 2, f"{good}_" if good in reserved else good
        while free in made:
            free, number = f"{good[: PROPERTY_NAME_MAX - _HASH]}_{number}", number + 1
        made[free] = _value(members[name], levels - 1)
    return made


def _value(value: Any, levels: int) -> Any:
    if type(value) is dict:
        return _object(value, levels, frozenset()) if levels else _text(value)
    if type(value) is list:
        return [_value(each, levels - 1) for each in value] if levels else _text(value)
    return value


def _name(name: str) -> str:
    plain = name.replace(".", "_")
    if plain.startswith("$"):
        plain = "_" + plain[1:]
    if not plain.strip():
        return "_"
    if len(plain) > PROPERTY_NAME_MAX:
        return f"{plain[: PROPERTY_NAME_MAX - 1 - _HASH]}_{_hash(name)}"
    return plain


def _text(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # deeper than orjson writes
        return "{...}" if type(value) is dict else "[...]"


def _cut(value: Any, most: int) -> Any:
    if type(value) is str:
        return value[:most]
    if type(value) is dict:
        return {name: _cut(each, most) for name, each in [*value.items()][:most]}
    if type(value) is list:
        return [_cut(each, most) for each in value[:most]]
    return value


def _unicode(value: Any) -> Any:
    """The value, half surrogate pairs in its texts and names replaced."""
    if type(value) is str:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if not value.isascii() else value
    if type(value) is dict:
        return {_unicode(name): _unicode(each) for name, each in value.items()}
    if type(value) is list:
        return [_unicode(each) for each in value]
    return value


def _integer(digits: str) -> int | str:
    value = int(digits) if len(digits) <= _LONGEST_INTEGER else INT_MAX + 1
    return value if INT_MIN <= value <= INT_MAX else digits


def _float(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else digits


def _is_property(name: str) -> bool:
    try:
        check_property_name(name)
    except RuleError:
        return False
    return True


def _is_collection(name: str) -> bool:
    try:
        check_collection_name(name)
    except RuleError:
        return False
    return True


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_HASH]
