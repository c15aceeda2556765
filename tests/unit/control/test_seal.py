"""Keys at rest."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.control.seal import Seal, SealError

SECRET = "a secret of more than thirty-two characters"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_opens_in_its_context_only(text: str, context: str) -> None:
    seal = Seal(SECRET)
    sealed = seal.close(text, context)
    assert seal.open(sealed, context) == text
    with pytest.raises(SealError):
        seal.open(sealed, context + "x")
    with pytest.raises(SealError):
        Seal(SECRET + "x").open(sealed, context)


def test_no_two_are_alike() -> None:
    seal = Seal(SECRET)
    assert seal.close("key", "c") != seal.close("key", "c")


@pytest.mark.parametrize("position", [0, 11, 12, -1])
def test_one_changed_byte_is_noticed(position: int) -> None:
    seal = Seal(SECRET)
    data = bytearray(base64.b64decode(seal.close("key", "c")))
    data[position] ^= 1
    with pytest.raises(SealError):
        seal.open(base64.b64encode(data).decode(), "c")


@pytest.mark.parametrize("sealed", ["", "ä", "AAAA", "not base64!", "A" * 200])
def test_what_was_never_sealed_does_not_open(sealed: str) -> None:
    with pytest.raises(SealError):
        Seal(SECRET).open(sealed, "c")
