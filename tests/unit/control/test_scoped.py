"""Scoped keys as every client makes them are read; what a holder makes of one is not."""

import json
import os
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from keen import scoped_keys

from headwater.control import OPERATIONS, Grant
from headwater.control.scoped import looks_scoped, open_scoped

MASTER = "0123456789abcdef" * 4
FILTERS = [{"property_name": "account", "operator": "eq", "property_value": 4}]
BOTH = {"allowed_operations": ["read", "write"], "filters": FILTERS}


def opened(raw_key: str, master_key: str = MASTER) -> Grant | None:
    return open_scoped(raw_key, master_key, "project", "id") if looks_scoped(raw_key) else None


def encrypted(text: bytes, key: bytes, upper: bool = False) -> str:
    """A text that is whole blocks, as a scoped key."""
    iv = os.urandom(16)
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    raw_key = (iv + cipher.update(text) + cipher.finalize()).hex()
    return raw_key.upper() if upper else raw_key


def pkcs(size: int, always: bool) -> Callable[[bytes], bytes]:
    def pad(text: bytes) -> bytes:
        missing = -len(text) % size or (size if always else 0)
        return text + bytes([missing]) * missing

    return pad


def zeros(text: bytes) -> bytes:
    return text + b"\0" * (-len(text) % 16)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("pad", [pkcs(16, True), pkcs(16, False), pkcs(32, False), pkcs(32, True), zeros])
@pytest.mark.parametrize("spaces", range(0, 33, 4))
def test_every_padding_at_every_length(pad: Callable[[bytes], bytes], upper: bool, spaces: int) -> None:
    text = json.dumps(BOTH).encode() + b" " * spaces
    for length in range(4):
        grant = opened(encrypted(pad(text + b" " * length), bytes.fromhex(MASTER), upper))
        assert grant is not None
        assert (grant.filters, grant.permitted) == (FILTERS, frozenset(OPERATIONS))


@pytest.mark.parametrize("master_key", [MASTER, MASTER.upper(), "A" * 32, "B" * 24 + "c" * 7, "short"], ids=len)
def test_the_python_clients_keys_for_every_length_of_master_key(master_key: str) -> None:
    for name in range(40):
        options = {"allowed_operations": ["read"], "filters": [FILTERS[0] | {"property_name": "a" * (name + 1)}]}
        raw_key = scoped_keys.encrypt(master_key, options).decode()
        grant = opened(raw_key, master_key)
        assert grant is not None
        assert grant.filters == options["filters"]
        assert not grant.permits("writes")
        assert grant.permits("queries")
        assert not grant.permits("master")
        assert opened(raw_key, secrets.token_hex(32)) is None


@pytest.mark.parametrize(
    ("options", "reads", "writes"),
    [
        ({"filters": FILTERS}, True, True),
        ({"allowed_operations": None, "filters": FILTERS}, True, True),
        ({"allowed_operations": ["read"], "filters": None}, True, False),
        ({"allowed_operations": ["write"]}, False, True),
        ({"allowed_operations": [], "filters": FILTERS}, False, False),
    ],
)
def test_what_is_allowed(options: dict[str, Any], reads: bool, writes: bool) -> None:
    grant = opened(scoped_keys.encrypt(MASTER, options).decode())
    assert grant is not None
    assert (grant.permits("queries"), grant.permits("writes")) == (reads, writes)


@pytest.mark.parametrize(
    "options",
    [
        [],
        5,
        {"filterz": FILTERS, "allowed_operations": ["read"]},
        {"filters": FILTERS[0], "allowed_operations": ["read"]},
        {"filters": ["x"], "allowed_operations": ["read"]},
        {"filters": FILTERS, "allowed_operations": "read"},
        {"filters": FILTERS, "allowed_operations": ["read", "admin"]},
        {"filters": FILTERS, "allowed_operations": [["read"]]},
    ],
)
def test_what_is_not_understood_permits_nothing(options: Any) -> None:
    text = pkcs(16, True)(json.dumps(options).encode())
    assert opened(encrypted(text + pkcs(16, True)(b""), bytes.fromhex(MASTER))) is None


def test_what_a_holder_can_make_of_a_key() -> None:
    """Its first block can be anything, by the IV; a suffix of it can be a key of its own."""
    raw_key = bytes.fromhex(scoped_keys.encrypt(MASTER, {"filters": FILTERS, "allowed_operations": ["read"]}).decode())
    plain = json.dumps({"filters": FILTERS, "allowed_operations": ["read"]}).encode()
    blocks = [raw_key[start : start + 16] for start in range(0, len(raw_key), 16)]

    def forged(index: int, text: bytes) -> str:
        """The blocks from `index` on, the first of which now says `text`."""
        known = pkcs(16, False)(plain)[(index - 1) * 16 : index * 16]
        iv = bytes(a ^ b ^ c for a, b, c in zip(blocks[index - 1], known, text.ljust(16), strict=True))
        return (iv + b"".join(blocks[index:])).hex()

    assert opened(forged(1, plain[:16])) is not None  # nothing changed
    for text in (b'{"filterz": [{"p', b'{"filters":[],"p', b"{}", b'{      "x":[{"p', b"{", b'[{"filters": [{'):
        for index in range(1, len(blocks)):
            grant = opened(forged(index, text))
            assert grant is None or grant.filters == FILTERS
    one_block = pkcs(16, False)(b"{}")
    assert opened(encrypted(one_block, bytes.fromhex(MASTER))) is None


@pytest.mark.parametrize("text", ["", "x" * 96, "0" * 64, "0" * 97, " " * 96, "0" * 95 + " ", "0" * 16_416, "é" * 96])
def test_other_texts_are_no_scoped_keys(text: str) -> None:
    assert not looks_scoped(text)
