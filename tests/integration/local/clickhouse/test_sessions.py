"""Sessions keep their own settings, database and temporary tables, and nothing of a request's URL."""

import httpx
import pytest

from tests.integration.local.clickhouse.conftest import EngineServer
from tests.waiting import wait_until


def ask(http: httpx.Client, query: str, **params: str) -> str:
    answer = http.post("/", content=query, params=params)
    assert answer.status_code == 200, answer.text
    return answer.text


def code(http: httpx.Client, query: str, **params: str) -> str:
    return http.post("/", content=query, params=params).headers["X-ClickHouse-Exception-Code"]


def test_temporary_tables_live_in_their_session(http: httpx.Client) -> None:
    ask(http, "CREATE TEMPORARY TABLE tmp (a UInt8)", session_id="a")
    ask(http, "INSERT INTO tmp VALUES (1), (2)", session_id="a")
    assert ask(http, "SELECT sum(a) FROM tmp", session_id="a") == "3\n"
    assert code(http, "SELECT * FROM tmp", session_id="b") == "60"
    assert code(http, "SELECT * FROM tmp") == "60"


def test_set_stays_and_the_urls_settings_do_not(http: httpx.Client) -> None:
    query = "SELECT getSetting('max_block_size')"
    default = ask(http, query, session_id="s")
    assert ask(http, query, session_id="s", max_block_size="11") == "11\n"
    assert ask(http, query, session_id="s") == default
    ask(http, "SET max_block_size = 22", session_id="s")
    assert ask(http, query, session_id="s") == "22\n"
    assert ask(http, query, session_id="s", max_block_size="33") == "33\n"
    assert ask(http, query, session_id="s") == "22\n"
    assert ask(http, query, session_id="other") == default
    assert ask(http, query) == default


def test_limits_come_back_after_a_request_that_changed_them(http: httpx.Client) -> None:
    query = "SELECT getSetting('max_memory_usage')"
    limit = ask(http, query)
    assert ask(http, query, session_id="l", max_memory_usage="500000000") == "500000000\n"
    assert ask(http, query, session_id="l") == limit


def test_use_stays_and_the_urls_database_does_not(http: httpx.Client, database: str) -> None:
    query = "SELECT currentDatabase()"
    assert ask(http, query, session_id="u", database="system") == "system\n"
    assert ask(http, query, session_id="u") == "default\n"
    ask(http, f"USE {database}", session_id="u")
    assert ask(http, query, session_id="u") == f"{database}\n"
    assert ask(http, query, session_id="u", database="system") == "system\n"
    assert ask(http, query, session_id="u") == f"{database}\n"


def test_a_session_is_used_by_one_request_at_a_time(http: httpx.Client) -> None:
    with http.stream("POST", "/", content="SELECT * FROM numbers(100000000)", params={"session_id": "busy"}):
        assert code(http, "SELECT 1", session_id="busy") == "373"
    assert wait_until(lambda: http.post("/", content="SELECT 1", params={"session_id": "busy"}).text == "1\n")


@pytest.mark.parametrize("check", ["0", "1"])
def test_a_session_ends_when_its_time_is_up(http: httpx.Client, check: str) -> None:
    session = f"short{check}"
    assert code(http, "SELECT 1", session_id=session, session_check="1") == "372"
    ask(http, "CREATE TEMPORARY TABLE tmp (a UInt8)", session_id=session, session_timeout="0.2")
    gone = "372" if check == "1" else "60"
    wait_until(lambda: _expired(http, session, check, gone), every=0.3)


def _expired(http: httpx.Client, session: str, check: str, gone: str) -> bool:
    params = {"session_id": session, "session_timeout": "0.2", "session_check": check}
    return http.post("/", content="SELECT * FROM tmp", params=params).headers.get("X-ClickHouse-Exception-Code") == gone


def test_a_bad_setting_does_not_spoil_a_session(server: EngineServer, http: httpx.Client) -> None:
    assert code(http, "SELECT 1", session_id="bad", nothing="1") == "115"
    assert code(http, "SELECT 1", session_id="bad", max_threads="many") != "0"
    assert ask(http, "SELECT 1", session_id="bad") == "1\n"


def test_a_session_is_free_when_its_answer_is_there(server: EngineServer) -> None:
    with server.http() as http:
        for n in range(300):
            query = "SELECT 1" if n % 3 else "SELECT * FROM numbers(400000)"
            answer = http.post("/", content=query, params={"session_id": "quick", "query_id": "always the same"})
            assert answer.status_code == 200, answer.text
