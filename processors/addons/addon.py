"""What an add-on is: its name, its inputs and outputs with their meaning, and the function behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from headwater.settings import Settings
from processors.shapes import Shape, shape_of

CACHED_LENGTH_MAX = 1_024  # characters of input; longer values are rare, and kept they would take unbounded memory

URL_LENGTH_MAX = 32_768  # characters; more is no address that a browser would send

Result = dict[str, Any]
"""What an add-on found: JSON values by output name; a dict or list among them holds scalars only. Never to be changed."""

Parse = Callable[..., Result | None]
"""Takes the values of the add-on's inputs in their declared order: the first a str, others str or None. None: no output."""


class AddonError(Exception):
    """An add-on cannot do what the event asks: the event goes to the dead letters with this name and message."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


@dataclass(frozen=True)
class Field:
    """An input or output: its name and one line on what it means."""

    name: str
    meaning: str


@dataclass(frozen=True)
class Removal:
    """An option of the `input` object: when true, the property that another input names is deleted from the event."""

    name: str
    input: str
    meaning: str


class Found(NamedTuple):
    """A result as the cache keeps it: its JSON text, the same for orjson to copy into another text, and its shape."""

    text: bytes
    fragment: orjson.Fragment
    shape: Shape

    def copy(self) -> Result:
        """The result for one event to own and change."""
        result: Result = orjson.loads(self.text)
        return result


LookUp = Callable[..., Found | None]
"""A Parse that remembers."""


def cached(parse: Parse, entries: int) -> LookUp:
    """`parse`, remembering the results of the `entries` inputs that were used last. Long inputs are not kept."""

    def find(value: str, *others: str | None) -> Found | None:
        result = parse(value, *others)
        if result is None:
            return None
        text = orjson.dumps(result)
        return Found(text, orjson.Fragment(text), shape_of(result))

    kept = lru_cache(entries)(find)

    def look_up(value: str, *others: str | None) -> Found | None:
        if others:
            short = all(other is None or len(other) <= CACHED_LENGTH_MAX for other in others)
            return (kept if short and len(value) <= CACHED_LENGTH_MAX else find)(value, *others)
        return kept(value) if len(value) <= CACHED_LENGTH_MAX else find(value)

    return look_up


@dataclass(frozen=True)
class Addon:
    """An add-on as events ask for it in `keen.addons`.

    Every input is required, and names the property whose value is taken. `load` makes the function, once per process;
    it may read files, and raises SettingsError where a setting is to blame.
    """

    name: str
    meaning: str
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    load: Callable[[Settings], LookUp]
    removal: Removal | None = None
