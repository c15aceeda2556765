"""Properties that every event gets: merged, in force where they were set and nowhere else."""

import asyncio
import threading
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.client.async_client import AsyncClient
from headwater.client.client import Client
from headwater.client.context import Context, merged
from headwater.client.errors import ConnectError, FailedEvent
from headwater.client.event import Event
from headwater.client.queue import MemoryQueue
from headwater.client.writer import BatchingWriter

OBJECTS: Any = st.recursive(
    st.none() | st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)
PROPERTIES = st.dictionaries(st.sampled_from("abc"), OBJECTS, max_size=3)
NOBODY = ConnectError("nobody asks")


class Taken(list[dict[str, Any]]):
    """What was sent, without ids and times."""

    def __call__(self, events: list[Event], stop: threading.Event) -> list[FailedEvent]:
        for event in events:
            properties = orjson.loads(event.payload)
            properties["keen"] = {
                k: v for k, v in properties["keen"].items() if k not in ("uniqueness_token", "timestamp")
            }
            self.append(properties)
        return []

    def close(self) -> None:
        """Nothing to close."""

    def writer(self) -> BatchingWriter:
        return BatchingWriter(
            lambda: self, lambda: MemoryQueue(1_000_000), threads=1, batch_events=100, linger=0.01, when_full="raise",
            on_error=None,
        )  # fmt: skip


@pytest.fixture
def taken() -> Taken:
    return Taken()


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if isinstance(value, dict) and value:
        return {p: v for name, inner in value.items() for p, v in leaves(inner, (*path, name)).items()}
    return {path: value}


@given(PROPERTIES, PROPERTIES)
def test_what_the_event_says_stands_and_the_rest_is_the_contexts(context: Any, properties: Any) -> None:
    both = leaves(merged(context, properties))
    own = {path: value for path, value in leaves(properties).items() if path and value != {}}
    assert own.items() <= both.items()
    for path, value in leaves(context).items():
        if path and not any(path[: len(p)] == p or p[: len(path)] == path for p in leaves(properties) if p):
            assert both[path] == value


def test_events_get_what_is_given_once_and_what_is_in_force(taken: Taken) -> None:
    always = {"app": {"version": "1.2"}, "country": "FR", "keen": {"addons": [{"name": "x"}]}}
    with Client(taken.writer(), NOBODY, NOBODY, NOBODY, context=Context(always)) as hw:
        always["country"] = "changed later"
        with hw.context({"user": {"id": "ann"}}):
            with hw.context({"user": {"plan": "pro"}}):
                hw.add_event("visits", {"user": {"id": "bob"}, "country": None})
            hw.add_events("visits", [{}])
        hw.add_event("visits", {"app": {"build": 7}})
    once = {"app": {"version": "1.2"}, "country": "FR", "keen": {"addons": [{"name": "x"}]}}
    assert taken == [
        once | {"user": {"id": "bob", "plan": "pro"}, "country": None},
        once | {"user": {"id": "ann"}},
        once | {"app": {"version": "1.2", "build": 7}},
    ]


def test_another_thread_and_another_client_have_contexts_of_their_own() -> None:
    context, other = Context({"a": 1}), Context()
    seen: list[Any] = []
    with context.scope({"b": 2}), other.scope({"c": 3}):
        thread = threading.Thread(target=lambda: seen.append(context.current()))
        thread.start()
        thread.join()
        assert (context.current(), other.current()) == ({"a": 1, "b": 2}, {"c": 3})
    assert seen == [{"a": 1}]
    assert (context.current(), other.current()) == ({"a": 1}, {})


async def test_tasks_do_not_see_each_others(taken: Taken) -> None:
    async def request(hw: AsyncClient, number: int) -> None:
        with hw.context({"request": number}):
            await barrier.wait()
            await hw.add_event("visits", {"n": number})

    barrier = asyncio.Barrier(5)
    async with AsyncClient(taken.writer(), NOBODY, NOBODY, wait_for_room=True) as hw:
        with hw.context({"job": "nightly"}):
            await asyncio.gather(*(request(hw, number) for number in range(5)))
    assert all(event["request"] == event["n"] and event["job"] == "nightly" for event in taken)
    assert len(taken) == 5


@pytest.mark.parametrize("keen", [{"timestamp": "2026-01-01"}, {"uniqueness_token": "one"}, {"id": "one"}, 5])
def test_an_id_or_a_time_for_all_events_is_refused(keen: Any) -> None:
    with pytest.raises(ValueError, match="keen"):
        Context({"keen": keen})
    with pytest.raises(ValueError, match="keen"), Context().scope({"keen": keen}):
        pass
