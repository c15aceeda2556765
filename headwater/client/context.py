"""Properties that every event gets: those given once, and those of the block of code that runs."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# By client: one variable for all of them, since contexts keep the variables that were ever set in them.
_scoped: ContextVar[Mapping["Context", Mapping[str, Any]]] = ContextVar("headwater_context")


class Context:
    """The properties that one client adds to its events. Safe to use from several threads and tasks."""

    def __init__(self, always: Mapping[str, Any] | None = None) -> None:
        """`always` is copied. Raises ValueError for an id or a time under `keen`."""
        self._always = _copied(always or {})

    def current(self) -> Mapping[str, Any]:
        """What an event that is added here and now gets."""
        scoped = _scoped.get(None)
        return self._always if scoped is None else scoped.get(self, self._always)

    @contextmanager
    def scope(self, properties: Mapping[str, Any]) -> Iterator[None]:
        """Add properties to what events get, in this thread or task, for the length of a `with` block."""
        scoped = _scoped.get({})
        token = _scoped.set({**scoped, self: merged(self.current(), _copied(properties))})
        try:
            yield
        finally:
            _scoped.reset(token)


def merged(context: Mapping[str, Any], properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties with those of the context that they do not have. What is an object in both is merged alike; of
    anything else the properties' value stands, and so it does where it is null. Pure; neither is changed."""
    if not context:
        return properties
    both: dict[str, Any] = {**context, **properties}
    for name in context.keys() & properties.keys():
        if isinstance(context[name], Mapping) and isinstance(properties[name], Mapping):
            both[name] = merged(context[name], properties[name])
    return both


def _copied(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """A copy that later changes do not reach. Raises ValueError for an id or a time, which would make all events one."""
    keen = properties.get("keen", {})
    if not isinstance(keen, Mapping):
        raise ValueError(f"context: property 'keen' is reserved for an object, not {keen!r}")
    for name in ("uniqueness_token", "id", "timestamp"):
        if name in keen:
            raise ValueError(f"context: keen.{name} belongs to one event: give it to add_event")
    return copy.deepcopy(dict(properties))
