"""`within` on keen.location.coordinates, against the spherical law of cosines."""

import math
import random
from contextlib import closing
from typing import Any

import pytest

from headwater.query.clickhouse import ClickHouseTransport
from tests.integration.query.events import START
from tests.querying import event, new_project_id, store

BERLIN, ANTIMERIDIAN, POLE = [13.4, 52.5], [179.9, -16.5], [0, 90]
ODD: list[Any] = [None, "13.4,52.5", [13.4], [13.4, 52.5, 7], [], ["13.4", "52.5"], [13.4, "52.5"], 5, {"lon": 1}]


def miles(a: list[float], b: list[float]) -> float:
    """The distance on a sphere of the Earth's mean radius."""
    (east, north), (other_east, other_north) = (map(math.radians, point) for point in (a, b))
    cosine = math.sin(north) * math.sin(other_north)
    cosine += math.cos(north) * math.cos(other_north) * math.cos(east - other_east)
    return 3_958.7613 * math.acos(max(-1.0, min(1.0, cosine)))


def positions() -> list[Any]:
    pick = random.Random(6)
    near = [
        [lon + pick.uniform(-9, 9), lat + pick.uniform(-9, 9)] for lon, lat in (BERLIN, ANTIMERIDIAN) for _ in range(60)
    ]
    whole = [[pick.randrange(-180, 180), pick.randrange(-90, 91)] for _ in range(60)]
    mixed = [[pick.randrange(-180, 180), pick.uniform(-90, 90)] for _ in range(30)]
    return near + whole + mixed


@pytest.mark.parametrize("centre", [BERLIN, ANTIMERIDIAN, POLE], ids=["Berlin", "antimeridian", "pole"])
def test_events_within_a_distance(clickhouse: str, centre: list[float]) -> None:
    project_id, points = new_project_id(), positions()
    events = [event({"keen": {"location": {"coordinates": point}}}, START + i) for i, point in enumerate(points + ODD)]
    store(clickhouse, project_id, "c", [*events, event({"n": 1}, START)])
    with closing(ClickHouseTransport(clickhouse, project_id)) as transport:

        def found(distance: float, **more: Any) -> Any:
            value = {"coordinates": centre, "max_distance_miles": distance}
            one = {"property_name": "keen.location.coordinates", "operator": "within", "property_value": value}
            return transport.run("count", {"event_collection": "c", "filters": [one], **more}).value

        for distance in (1, 10, 100, 300.5, 1_000, 6_000, 13_000):
            assert found(distance) == sum(miles(centre, point) <= distance for point in points), distance
        (group,) = found(13_000, group_by="n")
        assert group == {"n": None, "result": len(points)}
