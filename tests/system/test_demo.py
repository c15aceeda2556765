"""The demo's six answers, held against pandas over the same flights."""

import pandas
import pytest

from headwater.demo.expected import different_answers
from headwater.demo.flights import COLLECTION, flights_file, read_flights
from headwater.demo.questions import QUESTIONS
from headwater.demo.run import send_flights
from headwater.demo.visitors import visitors
from tests.stack import RunningStack
from tests.waiting import wait_until

EVERY = 16  # a part of the file keeps the test short; `headwater demo --check` compares all of it


@pytest.mark.timeout(600)
def test_the_demos_answers_are_those_of_pandas(stack: RunningStack) -> None:
    sample = list(read_flights(flights_file()))[::EVERY]
    progress: list[int] = []
    with stack.client() as hw:
        delivery = send_flights(hw, zip(sample, visitors(), strict=False), progress.append)
        assert delivery.events == len(sample) == progress[-1] == 21_049
        # Some of it again, as a second run of the demo would: the same events.
        send_flights(hw, zip(sample[:2_000], visitors(), strict=False), progress.append)
        assert hw.count(COLLECTION).value == len(sample)
        results = [hw.query(question.analysis, COLLECTION, **question.parameters) for question in QUESTIONS]
        assert different_answers(pandas.read_csv(flights_file())[::EVERY], results) == []

        # Straight from ClickHouse the answers are the same.
        with stack.client(clickhouse=stack.status["clickhouse"], project_id=stack.status["project_id"]) as direct:
            assert [
                direct.query(question.analysis, COLLECTION, **question.parameters).value for question in QUESTIONS
            ] == [result.value for result in results]

        # The add-ons worked on every event.
        for path in ("geo.country", "tech.os.family", "departure.day_of_week"):
            missing = {"property_name": path, "operator": "exists", "property_value": False}
            assert hw.count(COLLECTION, filters=[missing]).value == 0, path
        wait_until(lambda: hw.live()["collections"][COLLECTION]["events"] >= len(sample) + 2_000)
