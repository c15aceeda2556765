"""What the collector tells the processors of the users of Segment's clients, in projects whose `segment.mode` is `device`.

An identify goes into the raw topic as a JSON envelope whose collection is IDENTIFY, a name that no event's collection can
have. Its properties are `user`, by which the user is known (the userId, else the anonymousId), and `userId` and `traits` as
identified, with `merge` where the traits are computed ones, which come to the others; `traits` null is that the user is to be forgotten, with `before` only what
was identified up to that time. An event that is to have the traits says in its own `user` who it is, and brings the add-on `attachment`. Both have
the same key, so that they stay in order.
"""

from typing import Any

import orjson

IDENTIFY = "_segment_identify"
ATTACH = "segment:attach_user"
USER_MAX = 256  # characters; who has a longer id is nobody
TRAITS_MAX = 32_768  # bytes: what Segment's clients take for a whole message


def attachment(member: str) -> dict[str, Any]:
    """The add-on that attaches a user's traits; `member` of the event's `user` says who it is."""
    return {"name": ATTACH, "input": {"user": member}, "output": "user"}


def user_key(project_id: str, user: str) -> bytes:
    """The key of a user's raw records."""
    return f"{project_id}:{user}".encode()


def forgetting(project_id: str, user: str, before: int | None = None) -> bytes:
    """The raw record, with the key `user_key`, from which on nothing is known of a user, until somebody is identified as it again.

    What was identified later than `before`, in milliseconds since 1970, stays known. That is for the backfill topic, where
    an identify may wait that is older, until long after a newer one came by the raw topic.
    """
    properties: dict[str, Any] = {"user": user, "userId": None, "traits": None}
    if before is not None:
        properties["before"] = before
    return orjson.dumps({"project_id": project_id, "collection": IDENTIFY, "properties": properties})
