"""Values written as code: on one line where there is room, else a member on each line."""

import json
from collections.abc import Sequence
from typing import Any

WIDTH = 110


def as_json(value: Any, before: int = 0) -> str:
    """JSON; the first line has `before` characters in front of it."""
    return _written(value, json.dumps, "", 0, before)


def as_python(value: Any, indent: int = 0, before: int = 0) -> str:
    """A Python expression, its further lines indented by `indent`."""
    return _written(value, _python, ",", indent, before or indent)


def as_call(function: str, arguments: Sequence[Any], named: dict[str, Any]) -> str:
    """A call in Python."""
    flat = [_python(value) for value in arguments] + [f"{name}={_python(value)}" for name, value in named.items()]
    line = f"{function}({', '.join(flat)})"
    if len(line) <= WIDTH:
        return line
    members = [("", value) for value in arguments] + [(f"{name}=", value) for name, value in named.items()]
    return (
        "\n".join(
            [
                f"{function}(",
                *(f"    {name}{as_python(value, indent=4, before=4 + len(name))}," for name, value in members),
            ]
        )
        + "\n)"
    )


def _written(value: Any, flat: Any, last: str, indent: int, before: int) -> str:
    line: str = flat(value)
    if before + len(line) <= WIDTH or not isinstance(value, dict | list) or not value:
        return line
    inner = indent + (4 if last else 2)
    if isinstance(value, dict):
        names = [flat(name) + ": " for name in value]
        values: list[Any] = list(value.values())
    else:
        names, values = [""] * len(value), value
    members = [
        " " * inner + name + _written(one, flat, last, inner, inner + len(name) + 1)
        for name, one in zip(names, values, strict=True)
    ]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "\n" + ",\n".join(members) + last + "\n" + " " * indent + closing


def _python(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_python(name)}: {_python(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_python, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)
