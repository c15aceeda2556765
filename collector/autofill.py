"""What a key puts into every event that is written with it."""

from collections.abc import Iterable, Mapping
from typing import Any

from headwater.control import Grant


def fill(event: dict[str, Any], autofill: Mapping[str, Any]) -> None:
    """Merge the key's properties into an event, object by object; where both have a value the key's stays, so a writer cannot
    pass for somebody else. Shares lists with `autofill`, never objects: an event's may be changed.
    """
    for name, value in autofill.items():
        if type(value) is dict:
            inner = event.get(name)
            if type(inner) is not dict:
                inner = event[name] = {}
            fill(inner, value)
        else:
            event[name] = value


def fill_all(events: Iterable[Any], grant: Grant) -> None:
    """What the key puts into every event, put into these; what is no event stays for the rules to refuse."""
    autofill = grant.autofill
    if autofill:
        for event in events:
            if type(event) is dict:
                fill(event, autofill)
