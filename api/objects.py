"""Objects of the control plane over HTTP: reading what was just written, and writing, without holding up the event loop.

`what` names the objects for the client, in the plural and with a capital.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from headwater.control import ControlError, ControlPlane
from headwater.query import QueryError

T = TypeVar("T")


async def catch_up(plane: ControlPlane, what: str) -> None:
    """Wait until all is read that any replica wrote before. Raises QueryError (503) where Kafka does not let us."""
    if not await asyncio.to_thread(plane.catch_up):
        raise QueryError("ServiceUnavailableError", f"{what} cannot be read at the moment.", 503)


async def written(write: Callable[[], T], what: str) -> T:
    """What a write of the control plane gives. Raises QueryError (503) for a ControlError, and whatever else it raises."""
    try:
        return await asyncio.to_thread(write)
    except ControlError as error:
        raise QueryError("ServiceUnavailableError", f"{what} cannot be written at the moment.", 503) from error
