"""JSON of answers: what it writes it reads again, however large an integer is."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import exact_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert exact_json.loads(exact_json.dumps(value)) == value


def test_integers_beyond_64_bits_are_why_it_is_there() -> None:
    with pytest.raises(TypeError):
        orjson.dumps(2**70)
    assert exact_json.dumps({"result": 2**70}) == b'{"result":1180591620717411303424}'
    assert type(exact_json.loads(b"[18446744073709551616]")[0]) is int
