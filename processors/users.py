"""The users of Segment's clients: what identify said of them, attached to the events that they send later.

Events bring the add-on ATTACH only in projects whose `segment.mode` is `device`; all others cost nothing here.
"""

from functools import lru_cache
from typing import Any

import orjson

from headwater.codec import codec
from headwater.rules import RuleError
from headwater.segment_users import ATTACH, TRAITS_MAX
from processors.state import PartitionState


class Users:
    """The users of one partition while a block is processed: what the block says of them, over the partition's state.

    Nothing of it is in the state before `keep`: a block that has to be processed again finds what it found.
    """

    def __init__(self, state: PartitionState) -> None:
        self._state = state
        self._learned: dict[tuple[str, str], bytes | None] = {}  # None for one who was forgotten

    def identify(self, project_id: str, properties: dict[str, Any], timestamp: int) -> None:
        """Learn who a user is, unless that was said later already; or forget the user, where the traits are null. With `merge` the
        traits come to those that are known, else in their place. Raises RuleError."""
        user, user_id, traits = properties.get("user"), properties.get("userId"), properties.get("traits")
        before, merge = properties.get("before"), properties.get("merge", False)
        if (
            type(user) is not str
            or "traits" not in properties
            or not (traits is None or type(traits) is dict)
            or not (user_id is None or type(user_id) is str)
            or not (before is None or type(before) is int)
            or type(merge) is not bool
        ):
            raise RuleError(
                "InvalidMessageError",
                "An identify has a user (text), traits (an object, or null to forget the user) and maybe a userId (text).",
            )
        known = self._known(project_id, user)
        if traits is None:
            if before is None or (known is not None and known["identified_at"] <= before):
                self._learned[project_id, user] = None
            return
        late = known is not None and timestamp < known["identified_at"]
        if merge or not late:
            if merge and known is not None:
                before_it = orjson.loads(known["traits"])
                traits = traits | before_it if late else before_it | traits
                user_id, timestamp = user_id or known["user_id"], max(timestamp, known["identified_at"])
                if (size := len(orjson.dumps(traits))) > TRAITS_MAX:
                    raise RuleError(
                        "InvalidMessageError",
                        f"With these the user's traits have {size:,} bytes; {TRAITS_MAX:,} is the most.",
                    )
            record = {"user_id": user_id, "traits": orjson.dumps(traits).decode(), "identified_at": timestamp}
            self._learned[project_id, user] = codec("user").encode(record)

    def attach(self, project_id: str, properties: dict[str, Any], addons: str) -> str | None:
        """Put into an event's `user` what is known of who it names; the other add-ons than this one, None without any.

        Raises ValueError, TypeError or KeyError for add-ons that are none.
        """
        member, others = _split(addons)
        shown = properties.get("user")
        if type(shown) is dict and type(shown.get(member)) is str:
            known = self._known(project_id, shown[member])
            if known is not None:
                traits, user_id = orjson.loads(known["traits"]), known["user_id"]
                # Segment's code for browsers has the id among the traits too.
                shown["traits"] = traits if user_id is None else {"id": user_id, **traits}
        return others

    def keep(self) -> None:
        """Put what was learned into the state."""
        for (project_id, user), record in self._learned.items():
            self._state.set_user(project_id, user, record)

    def _known(self, project_id: str, user: str) -> dict[str, Any] | None:
        key = project_id, user
        record = self._learned[key] if key in self._learned else self._state.user(project_id, user)
        return None if record is None else codec("user").decode(record)


@lru_cache(1_000)  # a project has few
def _split(addons: str) -> tuple[str, str | None]:
    """Which member of an event's `user` says who it is, and the text of the other add-ons."""
    asked = orjson.loads(addons)
    others = [addon for addon in asked if addon["name"] != ATTACH]
    [member] = {addon["input"]["user"] for addon in asked if addon["name"] == ATTACH}
    return member, orjson.dumps(others).decode() if others else None
