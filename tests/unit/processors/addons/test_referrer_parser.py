"""keen:referrer_parser: the table, and what its rules make of real addresses."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.addons.referrer_parser import ADDON, parse_referrer, read_table

TABLE = read_table()
PAGE = "https://www.example.com/pricing"


@pytest.mark.parametrize(
    ("referrer", "medium", "source", "term"),
    [
        ("https://www.google.com/", "SEARCH", "Google", None),
        ("https://www.google.co.uk/search?q=blue+tent&hl=en", "SEARCH", "Google", "blue tent"),
        ("https://google.de/search?q=z%C3%BCrich", "SEARCH", "Google", "zürich"),
        ("http://www.bing.com/search?q=&form=x", "SEARCH", "Bing", None),
        ("https://search.yahoo.com/search?p=lamps", "SEARCH", "Yahoo!", "lamps"),
        ("https://mail.google.com/mail/u/0/", "EMAIL", "Gmail", None),
        ("https://mail.yahoo.co.jp/", "EMAIL", "Yahoo! Mail", None),
        ("android-app://com.google.android.gm/", "EMAIL", "Gmail", None),
        ("https://t.co/a1b2", "SOCIAL", "X", None),
        ("https://l.facebook.com/l.php?u=x", "SOCIAL", "Facebook", None),
        ("https://de.linkedin.com/", "SOCIAL", "LinkedIn", None),
        ("https://chatgpt.com/", "CHATBOT", "ChatGPT", None),
        ("https://gemini.google.com/app", "CHATBOT", "Gemini", None),
        ("https://www.example.com/home", "INTERNAL", None, None),
        ("http://example.com/", "INTERNAL", None, None),
        ("https://blog.example.com/", "UNKNOWN", None, None),
        ("https://notgoogle.com/?q=x", "UNKNOWN", None, None),
        ("https://google.example.com/?q=x", "UNKNOWN", None, None),
        ("https://example.com.co/", "UNKNOWN", None, None),
    ],
)
def test_media(referrer: str, medium: str, source: str | None, term: str | None) -> None:
    assert parse_referrer(referrer, PAGE, TABLE) == {"medium": medium, "source": source, "term": term}


@pytest.mark.parametrize("referrer", ["", "google.com", "not a url", "mailto:a@b.c", "http://", "http://[::1", "https://x.com/" + "a" * 40_000])  # fmt: skip
def test_what_is_no_web_address_is_blank(referrer: str) -> None:
    assert parse_referrer(referrer, PAGE, TABLE) == {"medium": "", "source": "", "term": ""}


@pytest.mark.parametrize("page", [None, "", "not a url"])
def test_without_a_page_nothing_is_internal(page: str | None) -> None:
    assert parse_referrer("https://www.example.com/home", page, TABLE)["medium"] == "UNKNOWN"


def test_every_host_of_the_table_is_found_with_its_own_source() -> None:
    for host, source in TABLE.items():
        referrer = f"https://{host.replace('.*', '.com')}/"
        assert urlsplit(referrer).hostname == host.replace(".*", ".com"), "hosts are in lower case"
        assert parse_referrer(referrer, None, TABLE)["source"] == source.name


def test_media_of_the_table_are_documented() -> None:
    medium = next(field for field in ADDON.outputs if field.name == "medium")
    for name in {source.medium for source in TABLE.values()}:
        assert name in medium.meaning


def test_a_host_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.toml"
    path.write_text('[SEARCH]\nA = { hosts = ["a.com"] }\n[EMAIL]\nB = { hosts = ["a.com"] }\n')
    with pytest.raises(ValueError, match=r"a\.com is given to A and to B"):
        read_table(path)


@given(st.text(max_size=80), st.none() | st.text(max_size=40))
def test_any_text_has_all_outputs(referrer: str, page: str | None) -> None:
    assert parse_referrer("https://" + referrer, page, TABLE).keys() == {"medium", "source", "term"}
