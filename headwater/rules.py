"""What an event may be: the rules for names, values and the `keen` namespace that every way in applies.

Pure. The reasons for each choice, and where Keen's own rule is not known, are in docs/compatibility.md.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple

import orjson

COLLECTION_NAME_MAX = 64
# Files of ClickHouse have the table's name escaped: 255 bytes less what stands around it when the table is dropped.
TABLE_FILE_NAME_MAX = 179
PROPERTY_NAME_MAX = 255
CLIENT_ID_MAX = 1_024
EXPLAINED_BYTES = 1_000_000
INT_MIN = -(2**63)
INT_MAX = 2**63 - 1
TIMESTAMP_MIN = -2_208_988_800_000  # 1900-01-01T00:00:00Z
TIMESTAMP_MAX = 10_413_792_000_000 - 1  # the last millisecond of 2299

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RESERVED = frozenset({"timestamp", "created_at", "id", "uniqueness_token", "addons", "location"})
_KNOWN_MAX = 20_000
_known_property_names: set[str] = set()  # names found good before; emptied when full
_known_collection_names: set[str] = set()
is_known_collection_name: Callable[[str], bool] = _known_collection_names.__contains__
"""Whether `check_collection_name` found this name good before."""

_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x2D if byte == 0x2D else 0x20 for byte in range(256))
_LONG_RUN = b"0" * 19  # the shortest that may be no 64-bit integer
_LONG_RUN_SAMPLED = b"0" * 9  # what every second byte of it has at least
_BEYOND_64_BITS = (b"-" + _LONG_RUN, _LONG_RUN + b"0")
_LONGEST_INTEGER = 20  # characters of the longest integer that may fit


class RuleError(ValueError):
    """Input breaks a rule: `name` is Keen's name for the error, `description` says which field and what would be right."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, description)
        self.name = name
        self.description = description

    def __str__(self) -> str:
        return f"{self.name}: {self.description}"


class Reserved(NamedTuple):
    """The members of an event's `keen` object that travel beside its properties.

    `timestamp` is in milliseconds since 1970 UTC; `client_id` is what the client calls the event: its uniqueness_token,
    else its id.
    """

    timestamp: int | None = None
    client_id: str | None = None
    addons: list[dict[str, Any]] | None = None


NOTHING_RESERVED = Reserved()


def parse_json(text: bytes) -> Any:
    """The JSON value of a text, integers exact; those that are too long for 64 bits are some integer beyond them.

    Raises ValueError for anything that is not strict JSON.
    """
    return parse_values(text)[0]


def parse_values(text: bytes) -> tuple[Any, bool]:
    """What `parse_json` returns, and whether all of it is known to keep the rules for values: only names and nesting are
    left to be judged. Raises ValueError for anything that is not strict JSON.

    orjson leaves nothing to be judged but integers: it has no NaN and no infinity, and integers beyond 64 bits would
    become floats. Texts that may hold such a one take a slower, exact way.
    """
    if _may_hold_long_integers(text):
        digits = text.translate(_DIGITS)
        if _LONG_RUN in digits:
            value = orjson.loads(text)  # holds the exact way to the same strictness
            if not any(run in digits for run in _BEYOND_64_BITS):
                return value, False
            try:
                return json.loads(text, parse_int=_integer), False
            except RecursionError:
                raise ValueError("nested too deeply") from None
    return orjson.loads(text), True


def parse_each(texts: Sequence[bytes]) -> tuple[list[Any], bool]:
    """`parse_values` of each text, and whether all of them are known to keep the rules for values. Raises ValueError for the first
    that is not strict JSON.
    """
    if not _may_hold_long_integers(b" ".join(texts)):  # to look at each takes longer
        return [*map(orjson.loads, texts)], True
    both = [parse_values(text) for text in texts]
    return [value for value, _ in both], all(good for _, good in both)


def _may_hold_long_integers(text: bytes) -> bool:
    return _LONG_RUN_SAMPLED in text[::2].translate(_DIGITS)


def explain_broken(text: bytes, what: str = "body") -> RuleError:
    """Why a text that `parse_json` refused is no event; names the property where the text can be read so far. `what` it is, for
    whoever sent it.

    Says less of more than EXPLAINED_BYTES: reading them for it would keep others waiting.
    """
    if len(text) > EXPLAINED_BYTES:
        return RuleError(
            "InvalidEventError", f"The {what} is not JSON; of {EXPLAINED_BYTES:,} bytes or less you are told where."
        )
    if text.startswith(b"\xef\xbb\xbf"):
        return RuleError("InvalidEventError", f"The {what} starts with a byte order mark; send plain UTF-8.")
    try:
        value = json.loads(text.decode("utf-8", "surrogateescape"), parse_int=_integer)
        for path, problem in _unspeakable(value, ""):
            return RuleError("InvalidPropertyValueError", f"Property {_shown(path)} {problem}.")
    except RecursionError:
        return RuleError("InvalidPropertyValueError", "The event is nested far too deeply.")
    except ValueError as error:
        return RuleError("InvalidEventError", f"The {what} is not JSON: {error}.")
    return RuleError("InvalidEventError", f"The {what} is not JSON.")


def check_collection_name(name: str) -> None:
    """Raises RuleError (InvalidCollectionNameError) unless events may be collected under this name."""
    if name in _known_collection_names:
        return
    if not name.strip():
        problem = "is blank"
    elif len(name) > COLLECTION_NAME_MAX:
        problem = f"has {len(name)} characters; {COLLECTION_NAME_MAX} is the most"
    elif not name.isascii() or not name.isprintable():
        problem = "has a character that is not printable ASCII"
    elif "$" in name:
        problem = "has a $"
    elif name.startswith("_"):
        problem = "starts with _"
    elif name.startswith(".") or name.endswith("."):
        problem = "starts or ends with a dot"
    elif (size := _table_file_name_bytes(name)) > TABLE_FILE_NAME_MAX:
        problem = f"needs {size} bytes as a table's name, three for each character but letters, digits and _; {TABLE_FILE_NAME_MAX} is the most"
    else:
        _remember(_known_collection_names, name)
        return
    raise RuleError("InvalidCollectionNameError", f"Collection name {_shown(name)} {problem}.")


def check_property_name(name: str, parent: str = "") -> None:
    """Raises RuleError (InvalidPropertyNameError) unless a property may have this name; `parent` is a path ending in a dot."""
    if not name.strip():
        problem = "is blank"
    elif len(name) > PROPERTY_NAME_MAX:
        problem = f"has {len(name)} characters; {PROPERTY_NAME_MAX} is the most"
    elif name.startswith("$"):
        problem = "starts with $"
    elif "." in name:
        problem = "has a dot: nest objects instead"
    else:
        _remember(_known_property_names, name)
        return
    raise RuleError("InvalidPropertyNameError", f"Property name {_shown(parent + name)} {problem}.")


def check_event(event: object, max_depth: int) -> None:
    """Raises RuleError unless this is an event: an object whose names, values and nesting keep the rules.

    `max_depth` counts the event itself as 1. What is under `keen` is judged by `take_reserved`.
    """
    if type(event) is not dict:
        raise RuleError("InvalidEventError", f"An event is a JSON object; this is {_kind(event)}.")
    _check_object(event, "", max_depth)


def have_good_names(events: Iterable[object], max_depth: int) -> bool:
    """Whether these are events that keep the rules but perhaps for values, as far as can be told quickly: objects whose
    names were all found good before, nested no deeper than `max_depth`.

    False says nothing: `check_event` knows, and what it finds good is known from then on. They are looked at together,
    level by level, in a third of its time.
    """
    nested: list[Any] = [*events]
    if not nested or {*map(type, nested)} != {dict}:
        return False
    for _ in range(max_depth):
        names = chain.from_iterable([each for each in nested if type(each) is dict])
        if not _known_property_names.issuperset(names):
            return False
        nested = [
            value
            for each in nested
            for value in (each.values() if type(each) is dict else each)
            if type(value) is not str and (type(value) is dict or type(value) is list)
        ]
        if not nested:
            return True
    return False


def take_reserved(event: dict[str, Any]) -> Reserved:
    """Remove from a checked event what other fields of its record carry, and return it.

    Changes `event`: of `keen` only `location` stays, and `keen` goes when it is empty. `created_at` is the server's to
    say: a client's is dropped. Raises RuleError for a `keen` that is against the rules.
    """
    keen = event.get("keen")
    if keen is None:
        event.pop("keen", None)
        return NOTHING_RESERVED
    if type(keen) is not dict:
        raise RuleError("NamespaceTypeError", f"Property 'keen' is reserved for an object; this is {_kind(keen)}.")
    if not _RESERVED.issuperset(keen):
        unknown = min(keen.keys() - _RESERVED)
        raise RuleError(
            "InvalidKeenNamespaceProperty",
            f"Property {_shown('keen.' + unknown)} is not allowed: keen has only {', '.join(sorted(_RESERVED))}.",
        )
    get = keen.get
    timestamp = get("timestamp")
    given, client_id = get("id"), get("uniqueness_token")
    if given is not None:
        _check_client_id("id", given)
    if client_id is None:
        client_id = given
    elif type(client_id) is not str or not 0 < len(client_id) <= CLIENT_ID_MAX:
        _check_client_id("uniqueness_token", client_id)
    addons = None if get("addons") is None else _addons(keen["addons"])
    location = get("location")
    if location is None:
        del event["keen"]
    else:
        _check_location(location)
        event["keen"] = {"location": location}
    return Reserved(None if timestamp is None else parse_timestamp(timestamp), client_id, addons)


# As databases, Ruby and Go print times. Asked only where `datetime.fromisoformat` fails.
_ZONE_APART = re.compile(
    r"(\d{4}-?\d\d-?\d\d[T ]\d[\d:.,]*)(?: ?([+-]\d\d(?::?\d\d)?)| ?\+00:?00 (?:utc|gmt)| ?(?:z|utc|gmt))",
    re.ASCII | re.IGNORECASE,
).fullmatch


class Moment(int):
    """An event's time in milliseconds since 1970 UTC, where it need not become text first; no JSON text makes one."""

    __slots__ = ()


def parse_timestamp(value: object) -> int:
    """An ISO 8601 time as milliseconds since 1970 UTC, cut below the millisecond; without a zone it is UTC. A zone may stand apart, as
    in `2026-01-31 23:59:59 +0100`, and be called UTC, GMT or z.

    Raises RuleError (InvalidPropertyValueError) for other forms and for years outside 1900 to 2299. A Moment is taken as it is.
    """
    if type(value) is not str:
        if type(value) is Moment:
            if TIMESTAMP_MIN <= value <= TIMESTAMP_MAX:
                return int(value)
            raise _bad_timestamp(value, "is outside the years 1900 to 2299")
        raise _bad_timestamp(value, "is no ISO 8601 text")
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        apart = _ZONE_APART(value)
        try:
            time = datetime.fromisoformat(apart[1] + (apart[2] or "+00:00") if apart else "")
        except ValueError:
            raise _bad_timestamp(value, "is no ISO 8601 time") from None
    if value[10:11] not in ("T", " ", "t", "") and not (value[:8].isdigit() and value[8:9] in ("T", "t")):
        raise _bad_timestamp(value, "is no ISO 8601 time of the form 2026-01-31T23:59:59.999Z")
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    milliseconds = since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
    if not TIMESTAMP_MIN <= milliseconds <= TIMESTAMP_MAX:
        raise _bad_timestamp(value, "is outside the years 1900 to 2299")
    return milliseconds


def timestamp_text(milliseconds: int) -> str:
    """The ISO 8601 time that `parse_timestamp` reads as these milliseconds since 1970 UTC. Raises OverflowError beyond year 9999."""
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds")


def _check_object(properties: dict[str, Any], parent: str, levels: int) -> None:
    """The hot path: one look per property, and a call only for what is nested."""
    if not levels:
        raise _too_deep(parent)
    known = _known_property_names
    for name, value in properties.items():
        if name not in known:
            check_property_name(name, parent)
        kind = type(value)
        if kind is str:
            continue
        if kind is int:
            if not INT_MIN <= value <= INT_MAX:
                raise _bad_value(parent + name, value)
        elif kind is float:
            if not -math.inf < value < math.inf:
                raise _bad_value(parent + name, value)
        elif kind is dict:
            _check_object(value, f"{parent}{name}.", levels - 1)
        elif kind is list:
            _check_list(value, parent + name, levels - 1)
        elif value is not None and kind is not bool and kind is not Moment:
            raise _bad_value(parent + name, value)


def _check_list(values: list[Any], path: str, levels: int) -> None:
    if not levels:
        raise _too_deep(path)
    for value in values:
        kind = type(value)
        if kind is str:
            continue
        if kind is int:
            if not INT_MIN <= value <= INT_MAX:
                raise _bad_value(path, value)
        elif kind is float:
            if not -math.inf < value < math.inf:
                raise _bad_value(path, value)
        elif kind is dict:
            _check_object(value, f"{path}.", levels - 1)
        elif kind is list:
            _check_list(value, path, levels - 1)
        elif value is not None and kind is not bool:
            raise _bad_value(path, value)


def _check_client_id(name: str, value: object) -> None:
    if type(value) is not str or not value or len(value) > CLIENT_ID_MAX:
        raise RuleError(
            "InvalidPropertyValueError",
            f"Property 'keen.{name}' is {_shown(value)}: it must be text of 1 to {CLIENT_ID_MAX:,} characters.",
        )


def _addons(addons: object) -> list[dict[str, Any]] | None:
    """The list of add-ons, None when there are none. What an add-on's input is, the add-on judges."""
    if type(addons) is not list:
        raise RuleError("InvalidPropertyValueError", f"Property 'keen.addons' must be a list; this is {_kind(addons)}.")
    for addon in addons:
        if (
            type(addon) is not dict
            or type(addon.get("name")) is not str
            or type(addon.get("input")) is not dict
            or type(addon.get("output")) is not str
        ):
            raise RuleError(
                "InvalidPropertyValueError",
                "Property 'keen.addons' must hold objects with a name (text), an input (object) and an output (text).",
            )
        output = addon["output"]
        if output == "keen" or output.startswith("keen."):
            raise RuleError(
                "InvalidKeenNamespaceProperty", f"Add-on {_shown(addon['name'])} cannot write to {_shown(output)}."
            )
    return addons or None


def _check_location(location: object) -> None:
    coordinates = location.get("coordinates") if type(location) is dict else None
    if (
        type(coordinates) is not list
        or len(coordinates) != 2
        or not all(type(number) in (int, float) for number in coordinates)
    ):
        raise RuleError(
            "InvalidPropertyValueError",
            "Property 'keen.location' must be an object with coordinates: [longitude, latitude].",
        )


def _unspeakable(value: object, path: str) -> Iterator[tuple[str, str]]:
    """The paths of what has no form in strict JSON, UTF-8 and 64-bit integers, each with its problem."""
    if type(value) is str:
        if not _is_unicode(value):
            yield path, "is text that is not valid UTF-8, or half of a surrogate pair"
    elif type(value) is float:
        if not math.isfinite(value):
            yield path, "is not a finite number"
    elif type(value) is int:
        if not INT_MIN <= value <= INT_MAX:
            yield path, "is an integer beyond 64 bits (signed); send it as text"
    elif type(value) is dict:
        for name, member in value.items():
            if not _is_unicode(name):
                yield path + name, "has a name that is not valid UTF-8, or half of a surrogate pair"
            yield from _unspeakable(member, f"{path}.{name}" if path else name)
    elif type(value) is list:
        for member in value:
            yield from _unspeakable(member, path)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(digits: str) -> int:
    """An integer of JSON text; beyond 64 bits the size no longer matters, and converting it could be made expensive."""
    return int(digits) if len(digits) <= _LONGEST_INTEGER else INT_MAX + 1


def _table_file_name_bytes(name: str) -> int:
    """How long ClickHouse makes a table's name in names of files: letters, digits and _ stay, other bytes become three."""
    return sum(1 if character.isalnum() or character == "_" else 3 for character in name)


def _remember(known: set[str], name: str) -> None:
    if len(known) >= _KNOWN_MAX:
        known.clear()
    known.add(name)


def _bad_value(path: str, value: object) -> RuleError:
    if type(value) is int:
        problem = "is an integer beyond 64 bits (signed); send it as text"
    elif type(value) is float:
        problem = "is not a finite number"
    else:
        problem = f"is {_kind(value)}, which JSON does not have"
    return RuleError("InvalidPropertyValueError", f"Property {_shown(path)} {problem}.")


def _bad_timestamp(value: object, problem: str) -> RuleError:
    return RuleError("InvalidPropertyValueError", f"Property 'keen.timestamp' {problem}: {_shown(value)}.")


def _too_deep(path: str) -> RuleError:
    return RuleError("InvalidPropertyValueError", f"Property {_shown(path.split('.', 1)[0])} is nested too deeply.")


def _shown(value: object) -> str:
    """A client's value as it may stand in a message: short, and encodable whatever it is."""
    text = repr(value) if type(value) is str else str(value)
    text = text if len(text) <= 300 else text[:100] + "..."
    return text if _is_unicode(text) else ascii(text)


def _kind(value: object) -> str:
    """A JSON value's kind in words."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else kinds.get(type(value), type(value).__name__)
