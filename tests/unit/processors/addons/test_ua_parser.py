"""keen:ua_parser on agents as they are sent."""

import pytest

from headwater.settings import Settings
from processors.addons.addon import LookUp, Result
from processors.addons.ua_parser import load

CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.71"


@pytest.fixture(scope="module")
def parse() -> LookUp:
    return load(Settings())


def result(parse: LookUp, agent: str) -> Result:
    found = parse(agent)
    assert found is not None
    return found.copy()


def test_a_phone(parse: LookUp) -> None:
    agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1"
    assert result(parse, agent) == {
        "device": {"family": "iPhone", "type": "mobile phone"},
        "browser": {"family": "Mobile Safari", "major": "17", "minor": "0", "patch": None},
        "os": {"family": "iOS", "major": "17", "minor": "0", "patch": "3", "patch_minor": None},
    }


@pytest.mark.parametrize("agent", ["", "something", "\0", "é" * 100_000])
def test_an_unknown_agent_is_other(parse: LookUp, agent: str) -> None:
    assert result(parse, agent) == {
        "device": {"family": "Other", "type": "Other"},
        "browser": {"family": "Other", "major": None, "minor": None, "patch": None},
        "os": {"family": "Other", "major": None, "minor": None, "patch": None, "patch_minor": None},
    }


@pytest.mark.parametrize(
    ("kind", "agent"),
    [
        ("desktop", f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36"),
        ("desktop", "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/119.0"),
        ("desktop", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.1 Safari/605.1.15"),
        ("desktop", f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {CHROME} Safari/537.36"),
        ("mobile phone", f"Mozilla/5.0 (Linux; Android 13; Pixel 7) {CHROME} Mobile Safari/537.36"),
        ("mobile phone", "Mozilla/5.0 (compatible; MSIE 10.0; Windows Phone 8.0; Trident/6.0; IEMobile/10.0; ARM; Touch; NOKIA; Lumia 920)"),
        ("tablet", f"Mozilla/5.0 (Linux; Android 13; SM-X906B) {CHROME} Safari/537.36"),
        ("tablet", "Mozilla/5.0 (iPad; CPU OS 16_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.0 Mobile/15E148 Safari/604.1"),
        ("television", "Mozilla/5.0 (SMART-TV; Linux; Tizen 5.0) AppleWebKit/538.1 (KHTML, like Gecko) Version/5.0 NativeTVAds Safari/538.1"),
        ("television", f"Mozilla/5.0 (Linux; Android 5.1; AFTS Build/LMY47O) {CHROME} Mobile Safari/537.36"),
        ("game console", "Mozilla/5.0 (PlayStation 4 3.11) AppleWebKit/537.73 (KHTML, like Gecko)"),
        ("watch", "Mozilla/5.0 (Linux; Tizen 2.3; SAMSUNG SM-R750) AppleWebKit/537.3 (KHTML, like Gecko) Version/2.3 Mobile Safari/537.3"),
        ("bot", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
        ("bot", f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) {CHROME} Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
        ("Other", "curl/8.0"),
    ],
)  # fmt: skip
def test_device_types(parse: LookUp, kind: str, agent: str) -> None:
    assert result(parse, agent)["device"]["type"] == kind
