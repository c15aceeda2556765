"""Waits between tries."""

import pytest

from sinks.consumer import LAST_RETRY_SECONDS, retry_seconds


def test_waits_double_up_to_the_longest() -> None:
    assert [retry_seconds(failures) for failures in range(1, 8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


@pytest.mark.parametrize("failures", [100, 2_000, 10**6])
def test_a_server_may_be_away_for_ever(failures: int) -> None:
    assert retry_seconds(failures) == LAST_RETRY_SECONDS
