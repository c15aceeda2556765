"""Headers of records that are written again: what is written is read back, and what others write does no harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.origin import NAMES, ORIGIN, REPLAY, Origin, origin_in, without_origin

TIMES = st.none() | st.integers(-(10**14), 10**14)
ORIGINS = st.builds(
    Origin,
    st.sampled_from(["headwater.raw", "h.in.a.b-20c", "x"]),
    st.integers(0, 999),
    st.integers(0, 10**17),
    TIMES,
    st.integers(1, 10_000),
    st.booleans(),
)


@given(ORIGINS)
def test_what_is_written_is_read_back(origin: Origin) -> None:
    headers = [("trace", b"1"), *origin.headers()]
    assert origin_in(headers, origin.topic) == origin
    assert without_origin(headers) == [("trace", b"1")]


@given(st.lists(st.tuples(st.sampled_from(sorted(NAMES)) | st.text(), st.none() | st.text() | st.binary())))
def test_whatever_is_in_headers_is_an_origin_or_none(headers: list[tuple[str, str | bytes | None]]) -> None:
    origin = origin_in(headers, "headwater.raw")
    assert origin is None or (origin.topic == "headwater.raw" or origin.replay)


def test_a_record_is_of_its_own_topic_unless_it_is_a_replay() -> None:
    headers = Origin("headwater.raw", 1, 2, 3).headers()
    assert origin_in(headers, "headwater.raw.backfill") is None
    assert origin_in([*headers, (REPLAY, b"true")], "headwater.raw.backfill") == Origin(
        "headwater.raw", 1, 2, 3, replay=True
    )


@pytest.mark.parametrize(
    "text", [b"", b"raw", b"raw/1", b"raw/1/2/3", b"raw/-1/2", b"a b/1/2", b"raw/1/2\n", b"\xff/1/2"]
)
def test_what_is_no_place_is_none(text: bytes) -> None:
    assert origin_in([(ORIGIN, text)], "raw") is None
