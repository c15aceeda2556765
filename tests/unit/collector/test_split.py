"""Cutting a bulk body into its events."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from collector.split import split_batch

text = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\[]{},:'), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
batches = st.dictionaries(text, st.lists(values, max_size=3), max_size=3)


@given(batches, st.booleans())
def test_every_event_of_a_good_batch_is_found(batch: dict[str, list[object]], wide: bool) -> None:
    body = orjson.dumps(batch, option=orjson.OPT_INDENT_2 if wide else 0)
    parts = split_batch(body)
    assert parts is not None
    assert {orjson.loads(name): [orjson.loads(event) for event in events] for name, events in parts} == batch


@given(batches, st.sampled_from([b"NaN", b"tru", b'"\xff"', b'"\\ud800"', b"{1: [2}", b"", b"1 2"]), st.data())
def test_a_broken_event_leaves_the_others(batch: dict[str, list[object]], broken: bytes, data: st.DataObject) -> None:
    batch = batch | {"with": [1, 2, 3]}
    body = orjson.dumps(batch)
    body = body.replace(b'"with":[1,2,3]', b'"with":[1,' + broken + b",3]")
    parts = split_batch(body)
    if broken == b"{1: [2}":
        assert parts is None  # where the brackets do not match, nobody can say where an event ends
    else:
        assert parts is not None
        assert dict(parts)[b'"with"'] == [b"1", broken, b"3"]


@given(st.binary(max_size=60) | st.text(st.sampled_from('"{}[],: a\\'), max_size=40).map(str.encode))
def test_anything_else_is_refused_or_splits(body: bytes) -> None:
    parts = split_batch(body)
    if parts is None:
        try:
            document = orjson.loads(body)
        except ValueError:
            return
        assert type(document) is not dict or any(type(events) is not list for events in document.values())


def test_nested_far_beyond_any_stack() -> None:
    deep = b"[" * 50_000 + b"]" * 50_000
    assert split_batch(b'{"a": [1, ' + deep + b"]}") == [(b'"a"', [b"1", deep])]
