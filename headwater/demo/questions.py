"""What the demo asks: six questions, each with the Python and the curl that ask it."""

from dataclasses import dataclass
from typing import Any

import orjson

from headwater.demo.flights import COLLECTION, TIMEZONE, YEAR

LARGEST = {"property_name": "result", "direction": "DESC"}


@dataclass(frozen=True)
class Question:
    """One query: what it answers, the analysis, and Keen's parameters beside the collection."""

    title: str
    analysis: str
    parameters: dict[str, Any]

    def python(self) -> str:
        """The call that asks it, as code."""
        arguments = [orjson.dumps(COLLECTION).decode()]
        arguments += [f"{name}={value!r}" for name, value in self.parameters.items()]
        return f"hw.{self.analysis}({', '.join(arguments)})".replace("'", '"')

    def curl(self, url: str, project_id: str, read_key: str) -> str:
        """The request that asks it, as a shell command."""
        body = orjson.dumps({"event_collection": COLLECTION, **self.parameters}).decode()
        route = f"{url}/3.0/projects/{project_id}/queries/{self.analysis}"
        return f"curl -s {route} -H 'Authorization: {read_key}' -H 'Content-Type: application/json' -d '{body}'"


DELAY_BY_CARRIER = Question(
    "Mean arrival delay by carrier, in minutes: the ten worst",
    "average",
    {"target_property": "arr_delay", "group_by": "carrier", "order_by": LARGEST, "limit": 10},
)
FLIGHTS_BY_MONTH = Question(
    "Flights by month and airport",
    "count",
    {"timeframe": YEAR, "timezone": TIMEZONE, "interval": "monthly", "group_by": "origin"},
)
PLANES_BY_MONTH = Question(
    "Different planes by month",
    "count_unique",
    {"target_property": "tailnum", "timeframe": YEAR, "timezone": TIMEZONE, "interval": "monthly"},
)
DELAY_BY_HOUR = Question(
    "95th percentile of departure delay by hour of day, in minutes: the worst hours first",
    "percentile",
    {
        "target_property": "dep_delay",
        "percentile": 95,
        "group_by": "hour",
        "order_by": [LARGEST, {"property_name": "hour", "direction": "ASC"}],
    },
)
LATEST_EARLY = Question(
    "The latest five flights to Honolulu that arrived early",
    "extraction",
    {
        "filters": [
            {"property_name": "dest", "operator": "eq", "property_value": "HNL"},
            {"property_name": "arr_delay", "operator": "lt", "property_value": 0},
        ],
        "latest": 5,
        "property_names": ["keen.timestamp", "carrier", "flight", "arr_delay", "tech.os.family"],
    },
)
EVENTS_BY_COUNTRY = Question(
    "Events by country of the visitor's address, as the ip_to_geo add-on found it: the first ten",
    "count",
    {
        "group_by": "geo.country",
        "order_by": [LARGEST, {"property_name": "geo.country", "direction": "ASC"}],
        "limit": 10,
    },
)

QUESTIONS = (
    DELAY_BY_CARRIER,
    FLIGHTS_BY_MONTH,
    PLANES_BY_MONTH,
    DELAY_BY_HOUR,
    LATEST_EARLY,
    EVENTS_BY_COUNTRY,
)
