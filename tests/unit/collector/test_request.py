"""Keys and senders."""

import pytest

from collector.request import Request


def request(headers: dict[str, str], query: bytes = b"") -> Request:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"headers": pairs, "query_string": query, "client": ("10.0.0.9", 1234)})


@pytest.mark.parametrize(
    ("query", "headers", "key"),
    [
        (b"", {}, None),
        (b"", {"authorization": ""}, None),
        (b"", {"authorization": "abc"}, "abc"),
        (b"api_key=abc&", {}, "abc"),
        (b"&&api_key=abc&api_key=other", {}, "abc"),
        (b"api_key=", {}, None),
        (b"api_key=query", {"authorization": "header"}, "header"),
        (b"api_key=query", {"authorization": ""}, "query"),
    ],
)
def test_key(query: bytes, headers: dict[str, str], key: str | None) -> None:
    assert request(headers, query).key == key


@pytest.mark.parametrize(
    ("proxies", "forwarded", "ip"),
    [
        (0, "1.1.1.1", "10.0.0.9"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1,2.2.2.2", "1.1.1.1"),
        (3, "1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, None, "10.0.0.9"),
    ],
)
def test_the_sender_is_what_trusted_proxies_say(proxies: int, forwarded: str | None, ip: str) -> None:
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    assert request(headers).ip(proxies) == ip
