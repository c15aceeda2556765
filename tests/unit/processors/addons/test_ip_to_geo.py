"""keen:ip_to_geo against the real GeoLite2 City database of 2019, and against files that change."""

import shutil
from pathlib import Path

import maxminddb
import pytest
from structlog.testing import capture_logs

from headwater.settings import Settings, SettingsError
from processors.addons import ip_to_geo
from processors.addons.ip_to_geo import Geo, default_database, load

BRITISH = {
    "city": "Gamlingay",
    "province": "England",
    "country": "United Kingdom",
    "country_code": "GB",
    "continent": "Europe",
    "postal_code": "SG19",
    "coordinates": [-0.2399, 52.1398],
}


@pytest.fixture(scope="module")
def geo() -> Geo:
    return Geo(default_database())


def test_the_default_database_is_the_one_that_is_named() -> None:
    with maxminddb.open_database(default_database()) as reader:
        assert reader.metadata().database_type == "GeoLite2-City"
        assert 1_575_000_000 < reader.metadata().build_epoch < 1_578_000_000  # December 2019


def test_a_known_address_has_all_outputs(geo: Geo) -> None:
    found = geo.look_up("81.2.69.142")
    assert found is not None
    assert found.copy() == BRITISH
    assert list(found.copy()) == [field.name for field in ip_to_geo.ADDON.outputs]


def test_what_the_database_does_not_know_is_left_out(geo: Geo) -> None:
    found = geo.look_up("2001:4860:4860::8888")
    assert found is not None
    assert found.copy() == {
        "country": "United States",
        "country_code": "US",
        "continent": "North America",
        "coordinates": [-97.822, 37.751],
    }


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "fe80::1%eth0", "unknown", "", "8.8.8.8:80", "8.8.8.8\0", "é" * 5_000])  # fmt: skip
def test_unknown_and_malformed_addresses_have_no_output(geo: Geo, address: str) -> None:
    assert geo.look_up(address) is None


def test_a_new_file_is_read_and_a_broken_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ip_to_geo, "CHECK_SECONDS", 0.0)
    empty = tmp_path / "empty.mmdb"
    empty.write_bytes(database_without_networks())
    path = tmp_path / "city.mmdb"
    shutil.copy(empty, path)
    geo = Geo(path)
    assert geo.look_up("81.2.69.142") is None

    replacement = tmp_path / "new.mmdb"
    replacement.symlink_to(default_database())
    replacement.rename(path)
    found = geo.look_up("81.2.69.142")
    assert found is not None
    assert found.copy() == BRITISH

    broken = tmp_path / "broken.mmdb"
    broken.write_bytes(b"not a database")
    broken.rename(path)
    with capture_logs() as logs:
        assert geo.look_up("81.2.69.142") == found
        assert geo.look_up("81.2.69.142") == found
    assert [line["event"] for line in logs] == ["geoip_database_unusable"]

    path.unlink()
    assert geo.look_up("81.2.69.142") == found


@pytest.mark.parametrize("content", [None, b"", b"not a database"])
def test_a_file_that_cannot_be_used_is_named_at_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "city.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"HEADWATER_GEOIP_DATABASE: .*city\.mmdb"):
        load(Settings(geoip_database=path))


def database_without_networks() -> bytes:
    """An MMDB file by its specification: a tree of one node whose both records say "not found", then the metadata."""

    def text(value: str) -> bytes:
        return bytes([0x40 | len(value)]) + value.encode()

    def unsigned(kind: int, value: int) -> bytes:
        size = (value.bit_length() + 7) // 8
        head = bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])
        return head + value.to_bytes(size, "big")

    node_count = 1
    tree = node_count.to_bytes(3, "big") * 2
    members = {
        "binary_format_major_version": unsigned(5, 2),
        "binary_format_minor_version": unsigned(5, 0),
        "build_epoch": unsigned(9, 1_600_000_000),
        "database_type": text("Empty"),
        "description": bytes([0xE0]),
        "ip_version": unsigned(5, 4),
        "languages": bytes([0, 4]),
        "node_count": unsigned(6, node_count),
        "record_size": unsigned(5, 24),
    }
    metadata = bytes([0xE0 | len(members)]) + b"".join(text(name) + value for name, value in members.items())
    return tree + bytes(16) + b"\xab\xcd\xefMaxMind.com" + metadata
