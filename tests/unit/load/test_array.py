"""JSON arrays: each element once, whatever pieces it is read in, and nothing of a broken one passed over."""

import gzip
import io
import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.load.array import array_elements
from headwater.load.rows import read_blocks
from headwater.load.source import FormatError, Source

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\[]{},:\né'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\],', max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text('b}"', max_size=2), VALUES, max_size=3), max_size=6)


def elements(text: bytes) -> list[Any]:
    return [json.loads(element) for element in array_elements(io.BytesIO(text))]


def written(objects: list[dict[str, Any]], indent: int | None, answer: bool) -> bytes:
    whole = {"result": objects, "query": {"n": [1]}} if answer else objects
    return json.dumps(whole, indent=indent, ensure_ascii=False).encode()


@given(OBJECTS, st.sampled_from([None, 2]), st.booleans(), st.integers(1, 40))
def test_elements_are_those_of_the_array_in_pieces_of_any_size(
    objects: list[dict[str, Any]], indent: int | None, answer: bool, size: int
) -> None:
    text = written(objects, indent, answer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.load.array.PIECE_BYTES", size)
        patch.setattr("headwater.load.array.BEGIN_BYTES", 40)
        assert elements(text) == objects


@given(OBJECTS.filter(bool), st.data())
def test_of_one_that_is_cut_nothing_is_made_up(objects: list[dict[str, Any]], data: st.DataObject) -> None:
    text = written(objects, None, False)
    found = []
    with pytest.raises(FormatError, match="it ends within"):
        found.extend(array_elements(io.BytesIO(text[: data.draw(st.integers(2, len(text) - 1))] + b" \n")))
    assert [json.loads(element) for element in found] == objects[: len(found)]


def rows(folder: Path, content: bytes) -> list[tuple[int, Any, str]]:
    path = folder / "events.json"
    path.write_bytes(content)
    found = chain.from_iterable(read_blocks(Source(path)))
    return [(row.line, row.properties, row.problem) for row in found]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'[{"a": 1}, {"b": [2', "it ends within element 2"),
        (b'[{"a": "', "it ends within element 1"),
        (b'[{"a": 1}}', "behind element 1"),
        (b'[{"a": 1}] [{"a": 2}]', "follows its array of 1 elements"),
        (b'{"result": [{"a": "' + b"x" * 70_000 + b'"}]}\n{"result": [{"a": 2}]}\n', "follows its array of 1 elements"),
        (b'{"result": [{"a": 1}], "execution_meta', "follows its array of 1 elements"),
    ],
    ids=["cut", "cut in a text", "a bracket", "another array", "another answer", "cut behind"],
)
def test_a_broken_array_is_said(tmp_path: Path, text: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        rows(tmp_path, text)


def test_an_array_that_has_no_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.load.array.ELEMENT_BYTES", 1 << 20)
    with pytest.raises(FormatError, match="no end within 1 MiB"):
        rows(tmp_path, b'[{"a": "' + b"x" * (3 << 20))


def test_an_element_that_is_no_event_fails_alone(tmp_path: Path) -> None:
    assert [
        (line, properties, problem[:12]) for line, properties, problem in rows(tmp_path, b'[{"a": 1}, 2, {x}, ,{}]')
    ] == [
        (1, {"a": 1}, ""),
        (2, None, "is not a JSO"),
        (3, None, "is not JSON:"),
        (4, None, "is nothing"),
        (5, {}, ""),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"[]", []),
        (b' \n[\n {"a": 1}\n]\n', [{"a": 1}]),
        (b'\xef\xbb\xbf[{"a": 1}]', [{"a": 1}]),
        (gzip.compress(b'[{"a": 1}]', mtime=0), [{"a": 1}]),
        (b'{"result": [{"a": 1}, {"a": 2}]}', [{"a": 1}, {"a": 2}]),
        (b'{\n  "result": [\n    {"a": 1}\n  ],\n  "execution_metadata": {"x": [1]}\n}\n', [{"a": 1}]),
        (b'{"result": [{"a": 1}]}\n{"result": [{"a": 2}]}\n', [{"result": [{"a": 1}]}, {"result": [{"a": 2}]}]),
        (b'{"result": [{"a": 1}\n, {"a": 2}]}', [{"a": 1}, {"a": 2}]),
        (b'{"result": [1, 2]}\n', [{"result": [1, 2]}]),
        (b'{"results": [{"a": 1}]}', [{"results": [{"a": 1}]}]),
    ],
)
def test_what_is_an_array_and_what_is_lines(tmp_path: Path, text: bytes, found: list[Any]) -> None:
    assert [properties for _, properties, _ in rows(tmp_path, text)] == found
