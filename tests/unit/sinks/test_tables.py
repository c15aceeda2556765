"""Names of databases and tables as SQL."""

from sinks.datums import Collection
from sinks.tables import create_database, create_table, quoted, table


def test_identifiers_are_quoted_whatever_they_hold() -> None:
    assert quoted("sign_ups") == "`sign_ups`"
    assert quoted("x`; DROP TABLE y") == "`x\\`; DROP TABLE y`"
    assert quoted("back\\slash") == "`back\\\\slash`"
    assert quoted("ends with \\`") == "`ends with \\\\\\``"


def test_a_collection_is_a_table_of_its_projects_database() -> None:
    assert table(Collection("a" * 24, "sign ups")) == f"`headwater_{'a' * 24}`.`sign ups`"
    assert create_database("a" * 24) == f"CREATE DATABASE IF NOT EXISTS `headwater_{'a' * 24}`"


def test_a_table_folds_replays_of_an_event() -> None:
    statement = create_table(Collection("a" * 24, "c"))
    assert "ReplacingMergeTree(processed_at)" in statement
    assert "ORDER BY (timestamp, id)" in statement
    assert "PARTITION BY toYYYYMM(timestamp)" in statement
