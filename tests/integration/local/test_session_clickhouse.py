"""The session's ClickHouse answers."""

import httpx

from headwater.settings import Settings


def test_the_settings_of_a_test_reach_clickhouse(settings: Settings) -> None:
    answer = httpx.post(settings.clickhouse, content="SELECT 40 + 2")
    assert (answer.status_code, answer.text) == (200, "42\n")
