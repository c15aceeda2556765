"""Extractions as text: JSON as Keen has it, CSV, or a line of JSON for each event; in parts, so that no more is in memory."""

import csv
import zlib
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import islice
from typing import Any

import orjson

from headwater.query.arguments import wrong
from headwater.query.errors import shown

JSON, CSV, NDJSON = "application/json", "text/csv", "application/x-ndjson"
ENDINGS = {JSON: "json", CSV: "csv", NDJSON: "ndjson"}
EVENTS_PER_PART = 500
OWN_COLUMNS = ("keen.timestamp", "keen.created_at", "keen.id")
_GZIP = zlib.MAX_WBITS | 16


def parse_content_type(value: object) -> str:
    """The form that a `content_type` parameter names, in full or by its ending. Raises QueryError."""
    for content_type, ending in ENDINGS.items():
        if value in (content_type, ending):
            return content_type
    raise wrong("content_type", f"{shown(value)} is none of {', '.join(ENDINGS)}")


def parse_content_encoding(value: object) -> bool:
    """Whether a `content_encoding` parameter asks for gzip. Raises QueryError."""
    if value not in ("gzip", "identity"):
        raise wrong("content_encoding", f"{shown(value)} is neither 'gzip' nor 'identity'")
    return value == "gzip"


def written(events: Iterable[dict[str, Any]], content_type: str, columns: Sequence[str]) -> Iterator[bytes]:
    """The text of events, in parts as they come; `columns` are those of a CSV, paths of properties."""
    source = iter(events)
    parts = iter(lambda: list(islice(source, EVENTS_PER_PART)), [])
    if content_type == CSV:
        divided = _parents(columns)
        yield _csv([columns])
        for part in parts:
            yield _csv([_cell(event, column, divided) for column in columns] for event in part)
    elif content_type == NDJSON:
        for part in parts:
            yield b"".join(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in part)
    else:
        before = b'{"result":['
        for part in parts:
            yield before + orjson.dumps(part)[1:-1]
            before = b","
        yield b"]}" if before == b"," else before + b"]}"


def gzipped(parts: Iterable[bytes]) -> Iterator[bytes]:
    """A text in parts as a gzip file in parts."""
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    for part in parts:
        if packed := packer.compress(part):
            yield packed
    yield packer.flush()


def _csv(rows: Iterable[Sequence[Any]]) -> bytes:
    text = StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)  # RFC 4180
    return text.getvalue().encode()


def _parents(columns: Iterable[str]) -> set[str]:
    """The paths above the columns' own."""
    keys = (column.split(".") for column in columns)
    return {".".join(each[:depth]) for each in keys for depth in range(1, len(each))}


def _cell(event: dict[str, Any], column: str, divided: set[str]) -> Any:
    """What an event has at a path, as a cell: lists, objects and booleans as JSON has them, nothing as an empty cell.

    So is an object in a column that is `divided`: its members have columns of their own.
    """
    value: Any = event
    for key in column.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, dict) and column in divided:
        return None
    return orjson.dumps(value).decode() if isinstance(value, list | dict | bool) else value
