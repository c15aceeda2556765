"""Limits of what a project may send: what passes in a long time is the rate, whatever the sizes of requests."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from collector.errors import ApiError
from collector.rates import BURST_SECONDS, Bucket, Rates
from headwater.control import ControlPlane, Project
from headwater.control.project_settings import ProjectSettings
from headwater.settings import load_settings


class Plane(ControlPlane):
    """A control plane with one project, that follows nothing."""

    def __init__(self, **limits: float) -> None:
        super().__init__(load_settings(secret=SecretStr("s" * 40)))
        settings = ProjectSettings.model_validate({f"limits.{unit}_per_second": rate for unit, rate in limits.items()})
        self._only = Project("p", "test", 1, "m", "w", "r", settings=settings)

    def project(self, project_id: str) -> Project | None:
        return self._only if project_id == "p" else None


@given(st.floats(0.5, 1e6), st.lists(st.tuples(st.floats(0, 10), st.integers(1, 10_000)), min_size=1, max_size=200))
def test_no_more_passes_than_the_rate_and_one_burst_and_one_request(
    rate: float, requests: list[tuple[float, int]]
) -> None:
    bucket, now, passed = Bucket(rate, 0.0), 0.0, 0
    for pause, size in requests:
        now += pause
        if not bucket.wait(now):
            assert passed <= rate * (now + BURST_SECONDS) * (1 + 1e-9) + 1e-6  # so that one more request may go over it
            bucket.take(size)
            passed += size


@given(st.floats(0.5, 1e6), st.integers(1, 10_000_000))
def test_who_waits_as_long_as_it_is_told_may_send(rate: float, size: int) -> None:
    bucket = Bucket(rate, 0.0)
    assert bucket.wait(0.0) == 0
    bucket.take(size)
    wait = bucket.wait(0.0)
    assert bucket.wait(wait * (1 + 1e-9) + 1e-9) == 0
    assert (wait > 0) == (size > rate * BURST_SECONDS)


def statuses(rates: Rates, records: Iterable[list[tuple[bytes, bytes]]]) -> list[int]:
    found = []
    for each in records:
        try:
            rates.take("p", each)
            found.append(200)
        except ApiError as error:
            found.append(error.status)
    return found


def test_a_refusal_says_which_limit_and_how_long() -> None:
    now = 0.0
    rates = Rates(Plane(events=10, bytes=1_000_000), lambda: now)
    event = (b"key", b"x" * 100)
    assert statuses(rates, [[event] * 60, [event]]) == [200, 429]
    with pytest.raises(ApiError, match=r"limits.events_per_second") as refused:
        rates.take("p", [event])
    assert refused.value.headers == ((b"retry-after", b"1"),)
    assert "10 events a second" in refused.value.message
    now = 1.0
    assert statuses(rates, [[event]]) == [200]
    now = 60.0
    assert statuses(rates, [[(b"key", b"x" * 9_000_000)], [event]]) == [200, 429]
    with pytest.raises(ApiError, match=r"limits.bytes_per_second"):
        rates.take("p", [event])


def test_what_is_refused_counts_nothing() -> None:
    rates = Rates(Plane(events=1_000, bytes=10), lambda: 0.0)
    assert statuses(rates, [[(b"k", b"x" * 51)], *[[(b"k", b"x")] * 500 for _ in range(20)]]) == [200, *[429] * 20]
    assert rates._buckets["p", "events"]._level == 4_999


def test_without_a_limit_nothing_is_kept() -> None:
    rates = Rates(Plane(), lambda: 0.0)
    rates.take("p", [(b"k", b"x")])
    rates.take("unknown", [(b"k", b"x")])
    assert not rates._buckets
