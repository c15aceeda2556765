"""keen:url_parser: parts, and names that a property may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.rules import check_property_name
from processors.addons.url_parser import parse_url, property_name


def test_all_parts() -> None:
    assert parse_url("https://User:pw@Shop.Example.com:8443/a%20b/c?color=red%20brown&size=&x.y=1#top") == {
        "protocol": "https",
        "domain": "shop.example.com",
        "path": "/a%20b/c",
        "anchor": "top",
        "query_string": {"color": "red brown", "size": "", "x_y": "1"},
    }


def test_missing_parts_are_left_out() -> None:
    assert parse_url("http://example.com") == {"protocol": "http", "domain": "example.com"}
    assert parse_url("/only/a/path") == {"path": "/only/a/path"}
    assert parse_url("https://example.com/?") == {"protocol": "https", "domain": "example.com", "path": "/"}
    assert parse_url("http://[::1]:80/") == {"protocol": "http", "domain": "::1", "path": "/"}


@pytest.mark.parametrize("url", ["", "   ", "http://[::1", "https://example.com/" + "a" * 40_000])
def test_what_cannot_be_split_has_no_output(url: str) -> None:
    assert parse_url(url) is None


def test_the_last_of_a_repeated_parameter_and_the_first_hundred() -> None:
    parsed = parse_url("http://e.com/?" + "&".join(f"p{n}={n}" for n in range(500)) + "&p1=x")
    assert parsed is not None
    assert list(parsed["query_string"]) == [f"p{n}" for n in range(100)]
    parsed = parse_url("http://e.com/?a=1&b=2&a=3")
    assert parsed is not None
    assert parsed["query_string"] == {"a": "3", "b": "2"}


@pytest.mark.parametrize(
    ("key", "name"),
    [("a", "a"), ("a.b.c", "a_b_c"), ("$set", "_set"), ("$", "_"), (".", "_"), ("  ", ""), ("", ""), ("x" * 300, "x" * 255), (" " * 255 + "x", "")],
)  # fmt: skip
def test_names(key: str, name: str) -> None:
    assert property_name(key) == name


@given(st.text())
def test_every_name_is_one_that_a_property_may_have(key: str) -> None:
    name = property_name(key)
    if name:
        check_property_name(name)
    else:
        assert not key[:255].strip()


@given(st.text(alphabet=st.sampled_from("abc:/?#[]@&=%.$ 1é\t\\"), max_size=60))
def test_any_text_is_parsed_or_has_no_output(url: str) -> None:
    parsed = parse_url(url)
    if parsed is not None:
        assert parsed.keys() <= {"protocol", "domain", "path", "anchor", "query_string"}
        assert all(parsed.values())
