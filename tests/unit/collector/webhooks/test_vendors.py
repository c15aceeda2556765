"""The page for those who set webhooks up has every address."""

from pathlib import Path

from collector.webhooks.vendors import PATHS

PAGE = Path(__file__).parents[4] / "docs" / "webhooks.md"


def test_every_address_is_on_the_page() -> None:
    page = PAGE.read_text()
    assert [path for path in PATHS if f"`{path}`" not in page] == []
