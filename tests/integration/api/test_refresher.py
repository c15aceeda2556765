"""What is due is refreshed whatever goes wrong beside it."""

from collections.abc import Iterable

import pytest

from api import refresher
from api.refresher import Job, Refresher
from headwater.kafka import create_base_topics
from headwater.saved.lease import Lease
from headwater.settings import Settings
from tests.waiting import wait_until_async


class Broken:
    """A source that cannot say what it has."""

    asked = 0

    async def jobs(self) -> Iterable[Job]:
        self.asked += 1
        raise RuntimeError("a fault of ours")

    def lease_changed(self) -> None:
        """Nothing to know."""


class Two:
    """A source of two jobs that are always due, of which one fails."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def jobs(self) -> Iterable[Job]:
        return [Job(("fails",), 0, self._fail), Job(("works",), 1, self._work)]

    def lease_changed(self) -> None:
        """Nothing to know."""

    async def _fail(self) -> None:
        self.done.append("failed")
        raise RuntimeError("a fault of ours")

    async def _work(self) -> None:
        self.done.append("worked")


async def test_a_fault_in_a_source_or_a_job_holds_up_no_other(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresher, "LOOK_SECONDS", 0.02)
    create_base_topics(kafka_settings)
    broken, two = Broken(), Two()

    async def worked() -> bool:
        return broken.asked >= 3 and two.done.count("worked") >= 3

    async with Refresher(Lease(kafka_settings, "refresher"), broken, two).running():
        await wait_until_async(worked, 30)
    assert two.done.count("failed") == 1, "it is tried again a minute later, not at each look"
