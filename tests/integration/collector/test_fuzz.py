"""Every route of the collector takes whatever comes: an answer below 500 in the form of its dialect, and the next client is served.

A short run is among the tests; `scripts/test tests/integration/collector/test_fuzz.py -n 0 --timeout 3600 --hypothesis-profile fuzz` is the
long one.
"""

from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from tests.collecting import Collector
from tests.drawn_requests import KEEN, REQUESTS, as_http

ANSWERS = {200, 201, 204, 302, 400, 401, 403, 404, 405, 413, 415, 422, 429}


def send(http: httpx.Client, collector: Collector, asked: dict[str, Any]) -> httpx.Response:
    made = as_http(asked, collector.project.id, collector.project.write_key)
    return http.request(made.method, made.path, params=made.params, headers=made.headers, content=made.content)


@given(st.lists(REQUESTS, min_size=1, max_size=8))
def test_whatever_comes_is_answered(collector: Collector, asked: list[dict[str, Any]]) -> None:
    with httpx.Client(base_url=collector.url, timeout=20, trust_env=False) as http:
        for each in asked:
            answer = send(http, collector, each)
            assert answer.status_code in ANSWERS, (answer.status_code, answer.text[:500])
            if each["method"] == "HEAD":
                continue
            if answer.status_code >= 400:
                body = answer.json()
                assert body["message"]
                assert body["error_code"]
                assert "Traceback" not in body["message"]
                assert collector.project.write_key not in answer.text
            elif answer.status_code == 200 and answer.headers.get("content-type", "").startswith("application/json"):
                answer.json()
        fine: dict[str, Any] = {
            "method": "POST",
            "path": KEEN + "/events/c",
            "body": b'{"n":1}',
            "headers": {},
            "key": "header",
            "data": None,
        }
        assert send(http, collector, fine).status_code == 201
    assert "Traceback" not in collector.log.read_text()
