"""Sending the demo's flights and waiting until they can be asked about; each step timed."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from headwater.client.client import Client
from headwater.demo.flights import ADDONS, COLLECTION, Flight
from headwater.demo.visitors import Visitor

VISIBLE_SECONDS = 300.0
POLL_SECONDS = 0.1


class DemoError(Exception):
    """The demo did not end as it should; the message says how."""


@dataclass(frozen=True)
class Delivery:
    """How the sending went: events, seconds until the last was answered, seconds from then until all were visible."""

    events: int
    accepted_seconds: float
    visible_seconds: float


def send_flights(
    client: Client, flights: Iterable[tuple[Flight, Visitor]], on_progress: Callable[[int], None]
) -> Delivery:
    """Send the flights and wait until every one is visible to queries. Blocks; raises DemoError.

    Sent again, the flights are the same events. So what tells this run's from an earlier one's is when they were received.
    """
    started_at = datetime.now(UTC)
    started = time.perf_counter()
    number = 0
    for number, (flight, visitor) in enumerate(flights, 1):
        client.add_event(COLLECTION, event(flight, visitor), flight.timestamp, flight.id)
        if number % 500 == 0:
            on_progress(client.accepted)
    client.flush()
    answered = time.perf_counter()
    on_progress(client.accepted)
    if client.failed:
        raise DemoError(f"{client.failed:,} of {number:,} events were not accepted; the log above says why.")
    new = {"property_name": "keen.created_at", "operator": "gte", "property_value": started_at.isoformat()}
    while True:
        asked = time.perf_counter()
        visible = client.count(COLLECTION, filters=[new]).value
        if visible >= number:
            break
        if asked - answered > VISIBLE_SECONDS:
            raise DemoError(f"{visible:,} of {number:,} events are visible after {VISIBLE_SECONDS:g} seconds.")
        # Asking takes from the engine what the sink needs; so most of the time is left to the sink.
        time.sleep(max(POLL_SECONDS, 4 * (time.perf_counter() - asked)))
    return Delivery(number, answered - started, time.perf_counter() - answered)


def event(flight: Flight, visitor: Visitor) -> dict[str, Any]:
    """A flight as an event: who looked at it, and the add-ons that say more about that."""
    return {
        **flight.properties,
        "ip_address": visitor.ip_address,
        "user_agent": visitor.user_agent,
        "keen": {"addons": ADDONS},
    }
