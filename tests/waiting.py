"""Waiting for a condition, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], limit: float = 30.0, every: float = 0.05) -> T:
    """Call `condition` until it gives something true, and return that. Raises AssertionError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {limit:g} s: last value {value!r}")
        time.sleep(every)


async def wait_until_async(condition: Callable[[], Awaitable[T]], limit: float = 30.0, every: float = 0.05) -> T:
    """`wait_until` for a condition that is awaited."""
    deadline = time.monotonic() + limit
    while True:
        value = await condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {limit:g} s: last value {value!r}")
        await asyncio.sleep(every)
