"""What the page shows: questions and other requests, each declared once and written as Python, as curl and as a command."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from docs.queries.literals import WIDTH, as_call, as_json
from headwater.cli.query import TESTS

OPTIONS = {  # what has an option of the command line; all else goes into --definition
    "target_property": "--target-property",
    "percentile": "--percentile",
    "timeframe": "--timeframe",
    "timezone": "--timezone",
    "interval": "--interval",
    "group_by": "--group-by",
    "order_by": "--order-by",
    "limit": "--limit",
    "filters": "--filter",
    "latest": "--latest",
    "property_names": "--property-name",
}


@dataclass(frozen=True)
class Question:
    """A query of the example events. `parameters` are Keen's, the collection among them; `asks` is what it asks, in words.

    `without`: a member of the answer that the page leaves out, and says so.
    """

    name: str
    asks: str
    analysis: str
    parameters: Mapping[str, Any]
    without: str | None = None

    def python(self) -> str:
        """The call that asks it of a client `hw`."""
        named = dict(self.parameters)
        collection = named.pop("event_collection", None)
        return as_call(f"hw.{self.analysis}", [] if collection is None else [collection], named)

    def curl(self) -> str:
        """The request that asks it."""
        return _curl("POST", f"/queries/{self.analysis}", "R", self.parameters)

    def command(self) -> str:
        """The command that asks it."""
        words = ["headwater", "query", self.analysis]
        rest = dict(self.parameters)
        if self.analysis not in ("funnel", "retention"):
            words.append(rest.pop("event_collection"))
        options: list[list[str]] = []
        for name, option in OPTIONS.items():
            if name in rest and (values := _option_values(name, rest[name])) is not None:
                options += [[option, value] for value in values]
                del rest[name]
        if rest:
            options.append(["--definition", as_json(rest, before=len("    --definition ''"))])
        pieces = [shlex.join(words), *map(shlex.join, options)]
        line = " ".join(pieces)
        return line if len(line) <= WIDTH else " \\\n    ".join(pieces)


@dataclass(frozen=True)
class Request:
    """A request that is no query. `key` is the variable with the key that it needs.

    `shows`: the members of the answer that the page shows, those that are the same each time. `keeps`: the member that later
    requests have in the variable `K`. `python`: the call of a client `hw` that does the same, where there is one.
    """

    name: str
    asks: str
    method: str
    path: str
    key: str
    body: Mapping[str, Any] | None = None
    url: Mapping[str, Any] = field(default_factory=dict)  # parameters in the URL
    shows: tuple[str, ...] = ()
    keeps: str | None = None
    python: str | None = None

    def curl(self) -> str:
        """The request."""
        return _curl(self.method, self.path, self.key, self.body, self.url)


Example = Question | Request


def _curl(
    method: str, path: str, key: str, body: Mapping[str, Any] | None, url: Mapping[str, Any] | None = None
) -> str:
    usual = method == ("GET" if body is None else "POST")
    pieces = [f'curl "$P{path}"' if usual else f'curl -X {method} "$P{path}"', f'-H "Authorization: ${key}"']
    if url:
        pieces[0] = pieces[0].replace("curl", "curl -G", 1)
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in url.items()}
        pieces += [f"--data-urlencode {shlex.quote(f'{name}={text}')}" for name, text in texts.items()]
    if body is not None:
        pieces.append(f"-d {shlex.quote(json.dumps(body))}")
    line = " ".join(pieces)
    if len(line) <= WIDTH:
        return line
    if body is None or len(pieces[-1]) <= WIDTH - 4:
        return " \\\n    ".join([" ".join(pieces[:2]), *pieces[2:]])
    return " ".join([*pieces[:-1], f"-d {shlex.quote(as_json(body, before=WIDTH))}"])


def _option_values(name: str, value: Any) -> list[str] | None:
    """The texts of an option, one for each time that it is given; None where it cannot say the value."""
    if name == "filters":
        texts = [filter_text(one) for one in value]
        return None if None in texts else [text for text in texts if text is not None]
    if name == "order_by":
        return [_order(one) for one in (value if isinstance(value, list) else [value])]
    if name in ("group_by", "property_names"):
        names = value if isinstance(value, list) else [value]
        return names if all(isinstance(one, str) for one in names) else None
    return [value if isinstance(value, str) else json.dumps(value)]


def _order(value: str | Mapping[str, str]) -> str:
    if isinstance(value, str):
        return value
    return f"{value['property_name']}:{value.get('direction', 'ASC')}"


def filter_text(one: Mapping[str, Any]) -> str | None:
    """A filter as `--filter` takes it; None for an operator that it does not have."""
    if one["operator"] not in TESTS:
        return None
    value = one["property_value"]
    bare = (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z][A-Za-z -]*", value)
        and value not in ("true", "false", "null")
    )
    return f"{one['property_name']} {one['operator']} {value if bare else json.dumps(value)}"
