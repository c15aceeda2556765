"""One parameter at a time: the forms in which Keen's clients send it, as one value. Everything here raises QueryError."""

from collections.abc import Mapping
from typing import Any

import orjson

from headwater.query.errors import QueryError, shown


def present(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that say something: null and "" mean absent."""
    return {name: value for name, value in params.items() if value is not None and value != ""}


def structure(value: object, parameter: str) -> Any:
    """A list or an object, which URLs carry as JSON text; any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{", '"'):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            raise wrong(parameter, f"{shown(value)} is not JSON") from None
    return value


def collection_name(given: Mapping[str, Any], parameter: str = "event_collection") -> str:
    """The collection that `event_collection` names; `parameter` is what messages call it."""
    name = given.get("event_collection")
    if name is None:
        raise wrong(parameter, "it is missing: name the collection to ask about")
    if not isinstance(name, str) or not is_text(name):
        raise wrong(parameter, f"{shown(name)} is not a collection's name")
    return name


def positive(value: object, parameter: str) -> int:
    """A whole number above 0."""
    number = value
    if isinstance(value, str) and value.strip().isdecimal():
        number = int(value[:19])
    if isinstance(value, float) and value.is_integer():
        number = int(value)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 2**63:
        raise wrong(parameter, f"{shown(value)} is not a whole number above 0")
    return number


def boolean(value: object, parameter: str) -> bool:
    """True or false, as JSON or as text."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise wrong(parameter, f"{shown(value)} is neither true nor false")
    return value


def is_text(name: str) -> bool:
    """Whether a text has a form in UTF-8."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def wrong(parameter: str, what: str) -> QueryError:
    """The error for a parameter that cannot be understood."""
    return QueryError("QueryDefinitionError", f"You sent in an invalid definition for {parameter}: {what}.")
