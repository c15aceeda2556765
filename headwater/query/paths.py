"""Where a value is in an event: a dotted path, and the path as an SQL identifier."""

from dataclasses import dataclass
from functools import cached_property

from headwater.query.errors import QueryError, shown

COLUMNS = {"keen.timestamp": "timestamp", "keen.created_at": "received_at", "keen.id": "id"}


@dataclass(frozen=True)
class Path:
    """A property by its dotted name. Names of properties hold no dot themselves, so the name has one reading."""

    name: str

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The property names from the outermost to the innermost."""
        return tuple(self.name.split("."))

    @property
    def column(self) -> str | None:
        """The column that carries the property, where it is not one of the JSON column's paths."""
        return COLUMNS.get(self.name)

    @cached_property
    def sql(self) -> str:
        """The path in the JSON column, such as properties.`user`.`id`."""
        return "properties." + ".".join(quoted(key) for key in self.keys)

    @cached_property
    def sub_object(self) -> str:
        """The object at the path, such as properties.^`user`.`id`; empty where a plain value or nothing is there."""
        return "properties.^" + ".".join(quoted(key) for key in self.keys)


def quoted(identifier: str) -> str:
    """Any non-empty text as one SQL identifier (ClickHouse, "Identifiers": backslash escapes inside backquotes)."""
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


def parse_path(value: object, parameter: str) -> Path:
    """The path that a parameter names. Raises QueryError where it is no property name."""
    if not isinstance(value, str):
        raise QueryError(
            "InvalidPropertyNameError",
            f"{parameter} must be a property's name, a string such as 'user.id', not {shown(value)}.",
        )
    if not all(value.split(".")):
        raise QueryError(
            "InvalidPropertyNameError",
            f"{parameter} {shown(value)} has an empty part: write the names of properties with one dot between them.",
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise QueryError("InvalidPropertyNameError", f"{parameter} {shown(value)} is not valid Unicode text.") from None
    return Path(value)
