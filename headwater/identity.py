"""Who an event is: the rules that give the same event the same id at every hop and on every retry."""

import hashlib
import os
import re
import uuid
from collections.abc import Mapping
from functools import lru_cache

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
NAMESPACE = uuid.UUID("6f4f6d5e-2a0b-5a1f-9f3e-6865616477a7")  # ours, drawn once; changing it changes every derived id
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # RFC 9562: the two bits that are fixed
USER_MAX = 256  # characters of a user's id that becomes a key
ID_BYTES = 16  # of a digest of an id


def event_id(project_id: str, client_id: str) -> str:
    """The id for what a client calls its event: a UUID as it is (in lower case), anything else as UUIDv5 in the project's namespace."""
    if _UUID.fullmatch(client_id):
        return client_id.lower()
    return _uuid5(_namespace(project_id), client_id.encode("utf-8", "surrogatepass"))


def origin_id(topic: str, partition: int, offset: int) -> str:
    """The id of a record that came without one: UUIDv5 of where it stands in Kafka, so that a replay has the same."""
    return _uuid5(NAMESPACE.bytes, f"{topic}/{partition}/{offset}".encode())


def new_event_id() -> str:
    """A fresh id (UUIDv4) for an event whose client gave none."""
    return new_event_ids(1)[0]


def new_event_ids(count: int) -> list[str]:
    """So many fresh ids, with one call for their random bytes, which is most of the cost of one id."""
    digits = os.urandom(16 * count).hex()
    return [
        f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:]}"
        for h in [digits[at : at + 32] for at in range(0, len(digits), 32)]
    ]


def record_key(project_id: str, event: Mapping[str, object], identity: str) -> bytes:
    """The key of an event's raw record: project and user where the event names one (user_id, userId, user.id or
    user.uuid), else the event, so that one user's events stay in order."""
    get = event.get
    user = get("user_id") or get("userId")
    if user is None:
        user = get("user")
        if type(user) is dict:
            user = user.get("id") or user.get("uuid")
    if type(user) is str and 0 < len(user) <= USER_MAX:
        identity = user
    elif type(user) is int:
        identity = str(user)
    return f"{project_id}:{identity}".encode()


def id_digest(salt: bytes, event_id: bytes) -> bytes:
    """What the processors' window of ids keeps of an event's id. `salt` is its collection's, as `id_salt` makes it."""
    return hashlib.blake2b(salt + event_id, digest_size=ID_BYTES).digest()


def id_salt(project_id: str, collection: str) -> bytes:
    """What tells an id of one collection from the same id of another."""
    return f"{project_id}\0{collection}\0".encode()


@lru_cache(maxsize=1_024)
def _namespace(project_id: str) -> bytes:
    return uuid.uuid5(NAMESPACE, project_id).bytes


def _uuid5(namespace: bytes, name: bytes) -> str:
    """RFC 9562 UUIDv5 as text; uuid.uuid5 with half its cost, and for bytes."""
    digest = bytearray(hashlib.sha1(namespace + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    h = digest.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
