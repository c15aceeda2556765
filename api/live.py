"""Live figures: the processors' state topic, followed into memory."""

import time
from typing import Any

from confluent_kafka import Message

from headwater.aggregates import LiveFigures
from headwater.follower import Follower
from headwater.settings import Settings
from headwater.topics import state_topic


class LiveFollower:
    """The rolling figures of all projects, as of what the processors have committed. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
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

    def figures(self, project_id: str) -> dict[str, Any]:
        """What `/live` answers for a project."""
        return self._figures.figures(project_id, time.time_ns() // 1_000_000)

    def _take(self, message: Message) -> None:
        key = message.key()
        if key is not None:
            self._figures.apply(key, message.value())
