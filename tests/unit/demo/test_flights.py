"""The demo's events: all of the file, each with an id of its own; the same visitors in every run."""

import itertools

from ua_parser import parse

from headwater.demo.flights import count_flights, flights_file, read_flights
from headwater.demo.questions import QUESTIONS
from headwater.demo.visitors import country, user_agents, visitors


def test_every_flight_is_an_event_with_an_id_of_its_own() -> None:
    ids = set()
    cancelled = 0
    for flight in read_flights(flights_file()):
        ids.add(flight.id)
        cancelled += "dep_time" not in flight.properties
        assert None not in flight.properties.values()
        assert "NA" not in flight.properties.values()
    assert len(ids) == count_flights(flights_file()) == 336_776
    assert cancelled == 8_255


def test_times_are_scheduled_departures_in_utc() -> None:
    first = next(read_flights(flights_file()))
    assert (first.id, first.timestamp) == ("flight-1", "2013-01-01T10:15:00Z")
    assert first.properties["sched_dep_time"] == 515, "in New York, five hours behind"
    assert first.properties["scheduled_departure"] == first.timestamp


def test_visitors_are_the_same_in_every_run_and_resolve() -> None:
    one, two = (list(itertools.islice(visitors(), 3_000)) for _ in range(2))
    assert one == two
    assert all(country(visitor.ip_address) for visitor in one)
    assert len({visitor.ip_address for visitor in one}) > 500


def test_the_user_agents_are_known_browsers() -> None:
    agents = user_agents()
    assert 300 <= len(agents) == len(set(agents))
    for agent in agents:
        found = parse(agent)
        assert found.user_agent is not None
        assert found.os is not None
        assert found.os.family != "Other"


def test_each_question_is_shown_as_python_and_as_curl() -> None:
    for question in QUESTIONS:
        compile(question.python(), question.title, "eval")
        curl = question.curl("http://127.0.0.1:7000", "0" * 24, "key")
        assert curl.count("'") == 6, "nothing in the body ends its quotes"
