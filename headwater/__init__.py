"""Headwater: collect events, enrich them in flight, and ask grouped, ordered, time-bucketed questions about them.

    import headwater

    hw = headwater.connect()
    hw.add_event("purchases", {"item": "book", "price": 12.5})
    hw.sum("purchases", target_property="price", group_by="item").value

Importing this loads next to nothing: what a name needs comes with its first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.client.connection import connect as connect
    from headwater.client.connection import connect_async as connect_async
    from headwater.query import Result as Result

    __version__: str

__all__ = ["Result", "__version__", "connect", "connect_async"]

_HOME = {
    "connect": "headwater.client.connection",
    "connect_async": "headwater.client.connection",
    "Result": "headwater.query",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = importlib.import_module("importlib.metadata").version("headwater")
    elif name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'headwater' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
