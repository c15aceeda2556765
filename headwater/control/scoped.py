"""Keen's legacy scoped keys: a restriction that whoever holds the master key encrypts with it, without asking the server.

The form, as the clients write it (reference: keen-gem, KeenClient-Python, -Java, -NET): hex(IV) + hex(AES-256-CBC(JSON)). It carries
no proof of who made it: the holder of one key can change its first block at will and garble others. So what is read here
must be understood to the last member, and a text of one block, which every holder could make, is none.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from headwater.control.grant import READING, Grant, Operation

BLOCK = 16  # bytes
KEY_BYTES = 32
PADDING_MAX = 32  # the Python client pads old keys' texts to 32 bytes, all others to 16
LENGTH_MAX = 16_384  # characters; what proxies let through in a header
MEMBERS = {"allowed_operations", "filters"}
OPERATIONS: Mapping[str, frozenset[Operation]] = {"read": READING, "write": frozenset({"writes"})}


def looks_scoped(raw_key: str) -> bool:
    """Whether a text has the form of a scoped key: an IV and at least two blocks, in hexadecimal of either case."""
    if len(raw_key) % (2 * BLOCK) or not 3 * 2 * BLOCK <= len(raw_key) <= LENGTH_MAX:
        return False
    try:
        bytes.fromhex(raw_key)
    except ValueError:
        return False
    return raw_key.isalnum()  # fromhex would pass over blanks


def open_scoped(raw_key: str, master_key: str, project_id: str, key_id: str) -> Grant | None:
    """What a scoped key (one that `looks_scoped`) permits; None where it was not made with this master key.

    Without `allowed_operations` it permits reading and writing, never what only a master key may do.
    """
    options = _options(_decrypted(bytes.fromhex(raw_key), _aes_key(master_key)))
    if options is None:
        return None
    allowed = options.get("allowed_operations")
    names = list(OPERATIONS) if allowed is None else allowed
    permitted = frozenset[Operation]().union(*(OPERATIONS[name] for name in names))
    filters = options.get("filters") or []
    return Grant(project_id, key_id, "scoped", permitted, {"queries": {"filters": filters}})


def _aes_key(master_key: str) -> bytes:
    """A master key of 64 hexadecimal characters is 32 bytes; any other is its text, padded to 32."""
    try:
        key = bytes.fromhex(master_key)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        key = master_key.encode()[:KEY_BYTES]
    missing = KEY_BYTES - len(key)
    return key + bytes([missing]) * missing


def _decrypted(data: bytes, key: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(data[:BLOCK])).decryptor()
    return cipher.update(data[BLOCK:]) + cipher.finalize()


def _options(text: bytes) -> dict[str, Any] | None:
    """The options in a decrypted text with any of the paddings in use, zeros or none among them."""
    padding = text[-1]
    if padding == 0:
        text = text.rstrip(b"\0")
    elif padding <= PADDING_MAX and text.endswith(bytes([padding]) * padding):
        text = text[:-padding]
    try:
        options = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(options, dict) or not options.keys() <= MEMBERS:
        return None
    allowed, filters = options.get("allowed_operations"), options.get("filters")
    if allowed is not None and not (isinstance(allowed, list) and all(one in list(OPERATIONS) for one in allowed)):
        return None
    if filters is not None and not (isinstance(filters, list) and all(isinstance(one, dict) for one in filters)):
        return None
    return options
