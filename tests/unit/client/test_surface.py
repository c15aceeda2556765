"""The client that is awaited has the methods of the one that blocks, with the same parameters and answers."""

import inspect
from collections.abc import Coroutine
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from headwater.client.async_client import AsyncClient
from headwater.client.client import Client
from headwater.client.questions import Questions
from headwater.client.sending import Sending
from headwater.query import Result


def surface(client: type) -> set[str]:
    return {name for name in dir(client) if not name.startswith("_")}


def test_both_have_the_same_names() -> None:
    assert surface(AsyncClient) == surface(Client)
    assert {
        "count",
        "add_event",
        "delete_events",
        "save_query",
        "create_dataset",
        "create_access_key",
        "live",
    } <= surface(Client)


@pytest.mark.parametrize("name", sorted(surface(Client)))
def test_both_take_and_give_the_same(name: str) -> None:
    blocking, awaited = getattr(Client, name), getattr(AsyncClient, name)
    assert inspect.getdoc(awaited)
    if isinstance(blocking, property):
        assert awaited is blocking
        return
    one, other = inspect.signature(blocking), inspect.signature(awaited)
    assert one.parameters == other.parameters
    if hasattr(Questions, name) or hasattr(Sending, name):
        assert awaited is blocking
    else:
        assert inspect.iscoroutinefunction(awaited)
        assert not inspect.iscoroutinefunction(blocking)
        assert get_type_hints(awaited) == get_type_hints(blocking)


def test_questions_give_what_is_awaited_for_a_result() -> None:
    (base,) = (base for base in AsyncClient.__orig_bases__ if get_origin(base) is Questions)  # type: ignore[attr-defined]  # typing's own
    (answer,) = get_args(base)
    assert (get_origin(answer), get_args(answer)) == (Coroutine, (Any, Any, Result))
