"""What can go wrong in the client, as its users see it."""

from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

T = TypeVar("T")


class ConnectError(Exception):
    """Something that the client needs was not given and could not be found; the message names it and the way out."""


class QueueFullError(Exception):
    """The queue of unsent events has no room and the client was told to raise rather than wait."""


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """An event that was not accepted, as `on_error` gets it.

    `name` is Keen's name of the error where the event itself was refused (InvalidPropertyNameError and so on) or its
    whole request was (InvalidApiKeyError); `Unreachable` where nobody answered until retrying ended; `NotSent` where the
    client was closed first. `refused` says that the event is at fault: sending it again would not help.
    """

    collection: str
    id: str
    name: str
    description: str
    refused: bool
    payload: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The event as it was sent, with its `keen` object."""
        event: dict[str, Any] = orjson.loads(self.payload)
        return event


def there(part: T | ConnectError) -> T:
    """What was found at connecting; raises what was missing only to those who need it."""
    if isinstance(part, ConnectError):
        raise part
    return part
