"""What a request's URL and headers mean."""

import base64
from email.message import Message

import pytest

from headwater.local.clickhouse.errors import EngineError
from headwater.local.clickhouse.request import Request, parse


def request(url: str = "/", method: str = "POST", **headers: str) -> Request:
    message: Message[str, str] = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return parse(method, url, message)


def test_parameters_are_told_apart() -> None:
    found = request(
        "/?query=SELECT+1&database=d&max_threads=2&param_x=a%5Ctb&query_id=q&session_id=s&wait_end_of_query=1"
    )
    assert (found.query, found.database, found.query_id, found.session_id) == ("SELECT 1", "d", "q", "s")
    assert found.settings == {"max_threads": "2"}
    assert found.params == {"x": "a\\tb"}
    assert found.wait_end_of_query


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("found", "credentials"),
    [
        (request(), ("default", "")),
        (request("/?user=u&password=p"), ("u", "p")),
        (request("/?user=u&password=p", Authorization=basic("v", "a:b")), ("v", "a:b")),
        (request(Authorization=basic("v", "w"), X_ClickHouse_User="x", X_ClickHouse_Key="y"), ("x", "y")),
        (request(X_ClickHouse_Key="y"), ("default", "y")),
        (request(Authorization="Basic ???"), ("", "")),
        (request(Authorization="Bearer abc"), ("default", "")),
    ],
)
def test_credentials_come_in_three_ways(found: Request, credentials: tuple[str, str]) -> None:
    assert (found.user, found.password) == credentials


def test_headers_stand_in_for_parameters() -> None:
    found = request(X_ClickHouse_Database="d", X_ClickHouse_Format="JSON")
    assert (found.database, found.default_format) == ("d", "JSON")
    assert request("/?default_format=CSV", X_ClickHouse_Format="JSON").default_format == "CSV"


def test_answers_are_compressed_only_where_asked_for() -> None:
    assert request(Accept_Encoding="lz4").accept_encoding == ""
    assert request("/?enable_http_compression=1", Accept_Encoding="lz4").accept_encoding == "lz4"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("/?compress=1", 48),
        ("/?decompress=1", 48),
        ("/?role=x", 48),
        ("/?a%20b=1", 115),
        ("/?session_timeout=x", 374),
        ("/?session_timeout=99999", 374),
    ],
)
def test_what_cannot_be_done_is_refused(url: str, code: int) -> None:
    with pytest.raises(EngineError) as caught:
        request(url)
    assert caught.value.code == code


def test_a_request_without_an_id_gets_one() -> None:
    assert request().query_id != request().query_id
