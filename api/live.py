"""What the processors know: their state topic, followed into memory."""

import time
from typing import Any

from confluent_kafka import Message

from headwater.aggregates import DAY, KEPT, MINUTE, LiveFigures
from headwater.catalogue import Catalogues
from headwater.follower import Follower
from headwater.query import QueryError
from headwater.settings import Settings
from headwater.topics import state_topic


class LiveFollower:
    """The rolling figures and property catalogues of all projects, as of what the processors have committed.

    Safe to use from several threads.
    """

    def __init__(self, settings: Settings) -> None:
        self._catalogues = Catalogues()
        self._figures = LiveFigures()
        self._follower = Follower(settings, state_topic(settings), self._take)

    def start(self) -> None:
        """Start following. Does not block."""
        self._follower.start()

    def stop(self) -> None:
        """Stop following. Blocks until the thread has ended."""
        self._follower.stop()

    @property
    def caught_up(self) -> bool:
        """Whether the topic's end has been reached once."""
        return self._follower.caught_up

    @property
    def catalogues(self) -> Catalogues:
        """The property catalogues of all projects. Raises QueryError (503) until they have been read."""
        self._check()
        return self._catalogues

    def problems(self) -> list[str]:
        """A line where the figures are not known yet."""
        return [] if self.caught_up else ["the live figures have not been read from Kafka yet"]

    def figures(self, project_id: str) -> dict[str, Any]:
        """What `/live` answers for a project. Raises QueryError (503) until the figures have been read."""
        self._check()
        return self._figures.figures(project_id, _now())

    def last_event_at(self, project_id: str, collection: str) -> int | None:
        """The newest event time of a collection, in milliseconds since 1970 UTC; None where there is none."""
        return self._figures.collection(project_id, collection, _now()).last_event_at

    def last_received_at(self, project_id: str, collection: str) -> int:
        """When the minute began in which the collection's last event was received; 0 where that is an hour ago or more."""
        minutes = self._figures.collection(project_id, collection, _now()).received_minutes
        return max(minutes, default=0) * MINUTE

    def days(self, project_id: str, collections: list[str]) -> list[tuple[int, int]]:
        """Events of each of the last 30 days (UTC) by event time, over collections: the day's beginning, and how many."""
        now = _now()
        merged = [self._figures.collection(project_id, name, now).days for name in collections]
        today = now // DAY
        return [
            (day * DAY, sum(windows[day][0] for windows in merged if day in windows))
            for day in range(today - KEPT[DAY] + 1, today + 1)
        ]

    def _check(self) -> None:
        """Part of what is known would be called all there is."""
        if not self.caught_up:
            raise QueryError(
                "ServiceUnavailableError", "What the processors know has not been read from Kafka yet; ask again.", 503
            )

    def _take(self, message: Message) -> None:
        key = message.key()
        if key is not None:
            self._figures.apply(key, message.value())
            self._catalogues.apply(key, message.value())


def _now() -> int:
    return time.time_ns() // 1_000_000
