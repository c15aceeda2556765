"""When and how a request is tried again: connection errors, 429 and 5xx, with backoff, jitter and the server's Retry-After."""

import threading
from collections.abc import Container
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import urllib3
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_when_event_set,
)
from tenacity.nap import sleep_using_event
from tenacity.wait import wait_random_exponential

WRITES = frozenset({429, *range(500, 600)})  # a write that got these is sent again: it is the same event
QUERIES = frozenset({429, 502, 503})  # a query that failed or took too long would do so again

LONGEST_WAIT = 60.0  # seconds; a server that asks for more gets asked sooner
_backoff = wait_random_exponential(multiplier=0.2, max=10)


class TryLaterError(Exception):
    """The server answered that it cannot just now."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        return f"the server answered {self.response.status_code}"


_LATER = retry_if_exception_type((TryLaterError, httpx.TransportError, urllib3.exceptions.HTTPError))


def retrying(seconds: float, stop: threading.Event) -> Retrying:
    """Calls what it is given until it neither raises TryLaterError nor a transport error; raises the last of them after
    `seconds`, or at once when `stop` is set."""
    return Retrying(
        retry=_LATER,
        wait=_wait,
        stop=stop_after_delay(seconds) | stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        reraise=True,
    )


def retrying_async(seconds: float) -> AsyncRetrying:
    """`retrying` for what is awaited; ends when the task is cancelled."""
    return AsyncRetrying(retry=_LATER, wait=_wait, stop=stop_after_delay(seconds), reraise=True)


def answered(response: httpx.Response, retried: Container[int]) -> httpx.Response:
    """The response. Raises TryLaterError where its status is among those to try again."""
    if response.status_code in retried:
        raise TryLaterError(response)
    return response


def retry_after(response: httpx.Response, now: datetime) -> float:
    """The seconds that Retry-After asks for (RFC 9110, section 10.2.3: seconds or a date); 0 without one that is understood."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text), LONGEST_WAIT)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    wait = (when if when.tzinfo else when.replace(tzinfo=UTC)) - now
    return min(max(wait.total_seconds(), 0.0), LONGEST_WAIT)


def _wait(state: RetryCallState) -> float:
    """Full jitter over an exponential ceiling, on top of what the server asked for: clients that were turned away together
    do not come back together."""
    error = state.outcome.exception() if state.outcome else None
    asked = retry_after(error.response, datetime.now(UTC)) if isinstance(error, TryLaterError) else 0.0
    return asked + _backoff(state)
