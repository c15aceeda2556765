"""The base64 of writes by GET, as each client sends it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.data_parameter import decode_data
from headwater.rules import RuleError

text = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)


@given(text, st.booleans())
def test_every_variant(data: bytes, padded: bool) -> None:
    standard = base64.b64encode(data).decode()
    safe = base64.urlsafe_b64encode(data).decode()
    lines = base64.encodebytes(data).decode()
    for value in (standard, standard.replace("+", " "), safe, lines, lines.replace("\n", "\r\n")):
        assert decode_data(value if padded else value.replace("=", "")) == data


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_cesu8(characters: str) -> None:
    units = characters.encode("utf-16-le")
    halves = "".join(chr(int.from_bytes(units[at : at + 2], "little")) for at in range(0, len(units), 2))
    cesu8 = halves.encode("utf-8", "surrogatepass")
    assert decode_data(base64.b64encode(cesu8).decode()) == characters.encode()


@pytest.mark.parametrize("value", ["*", "a", "ä", "{}", "YWJjZ"])
def test_not_base64(value: str) -> None:
    with pytest.raises(RuleError) as caught:
        decode_data(value)
    assert caught.value.name == "InvalidEventError"


def test_other_bytes_are_left_for_the_json_parser_to_refuse() -> None:
    assert decode_data(base64.b64encode(b'{"a": "\xff"}').decode()) == b'{"a": "\xff"}'
