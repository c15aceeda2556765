"""The users of Segment's clients: what identify said of them, attached to the events that they send later.

What is known of a user is what their messages say in the order of their times, in whatever order they come; of two of one kind and time
the one that comes last. Events bring the add-on ATTACH only in projects whose `segment.mode` is `device`; all others cost nothing here.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from headwater.codec import codec
from headwater.rules import RuleError
from headwater.segment_users import ATTACH, TRAITS_MAX
from processors.state import PartitionState


class Computed(NamedTuple):
    """The value of a computed trait or audience, and when it was computed, in milliseconds since 1970 UTC."""

    value: Any
    at: int


class User(NamedTuple):
    """What is known of a user: the schema `user`."""

    user_id: str | None = None
    traits: Mapping[str, Any] = {}
    identified_at: int | None = None
    computed: Mapping[str, Computed] = {}

    @classmethod
    def decode(cls, record: bytes) -> "User":
        """A user from their record. Raises CodecError."""
        fields = codec("user").decode(record)
        computed = {name: Computed(orjson.loads(one["value"]), one["at"]) for name, one in fields["computed"].items()}
        return cls(fields["user_id"], orjson.loads(fields["traits"]), fields["identified_at"], computed)

    def encode(self) -> bytes:
        """The record. Raises RuleError where the traits are too large."""
        if (size := len(orjson.dumps(self.all_traits()))) > TRAITS_MAX:
            raise RuleError(
                "InvalidMessageError", f"The user's traits have {size:,} bytes together; {TRAITS_MAX:,} is the most."
            )
        computed = {
            name: {"value": orjson.dumps(one.value).decode(), "at": one.at} for name, one in self.computed.items()
        }
        traits = orjson.dumps(self.traits).decode()
        fields = {"user_id": self.user_id, "traits": traits, "identified_at": self.identified_at, "computed": computed}
        return codec("user").encode(fields)

    def all_traits(self) -> dict[str, Any]:
        """What events get."""
        return {**self.traits, **{name: one.value for name, one in self.computed.items()}}

    def identified(self, user_id: str | None, traits: Mapping[str, Any], at: int) -> "User":
        """With these traits in the place of those before, and of what was computed before; unless there are later ones."""
        if self.identified_at is not None and at < self.identified_at:
            return self
        return User(user_id or self.user_id, traits, at, self._computed_after(at - 1))

    def told(self, user_id: str | None, traits: Mapping[str, Any], at: int) -> "User":
        """With these computed traits beside the others, but for those that are known as of later."""
        if self.identified_at is not None and at < self.identified_at:
            return self
        newer = self._computed_after(at)
        told = {name: Computed(value, at) for name, value in traits.items() if name not in newer}
        return self._replace(user_id=user_id or self.user_id, computed={**self.computed, **told})

    def after(self, at: int) -> "User | None":
        """Without what was said up to then; None where that is all."""
        if self.identified_at is not None and self.identified_at > at:
            return self
        computed = self._computed_after(at)
        return User(self.user_id, computed=computed) if computed else None

    def _computed_after(self, at: int) -> dict[str, Computed]:
        return {name: one for name, one in self.computed.items() if one.at > at}


class Users:
    """The users of one partition while a block is processed: what the block says of them, over the partition's state.

    Nothing of it is in the state before `keep`: a block that has to be processed again finds what it found.
    """

    def __init__(self, state: PartitionState) -> None:
        self._state = state
        self._learned: dict[tuple[str, str], bytes | None] = {}  # None for one who was forgotten

    def identify(self, project_id: str, properties: dict[str, Any], timestamp: int) -> None:
        """Learn who a user is; or forget the user, where the traits are null. With `merge` the traits are computed ones.

        Raises RuleError, for traits that are too large together, too: nothing is then learned.
        """
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
        known = self._known(project_id, user) or User()
        learned: User | None
        if traits is None:
            learned = None if before is None else known.after(before)
        elif merge:
            learned = known.told(user_id, traits, timestamp)
        else:
            learned = known.identified(user_id, traits, timestamp)
        if learned is not known:
            self._learned[project_id, user] = None if learned is None else learned.encode()

    def attach(self, project_id: str, properties: dict[str, Any], addons: str) -> str | None:
        """Put into an event's `user` what is known of who it names; the other add-ons than this one, None without any.

        Raises ValueError, TypeError or KeyError for add-ons that are none.
        """
        member, others = _split(addons)
        shown = properties.get("user")
        if type(shown) is dict and type(shown.get(member)) is str:
            known = self._known(project_id, shown[member])
            if known is not None:
                traits = known.all_traits()
                # Segment's code for browsers has the id among the traits too.
                shown["traits"] = traits if known.user_id is None else {"id": known.user_id, **traits}
        return others

    def keep(self) -> None:
        """Put what was learned into the state."""
        for (project_id, user), record in self._learned.items():
            self._state.set_user(project_id, user, record)

    def _known(self, project_id: str, user: str) -> User | None:
        key = project_id, user
        record = self._learned[key] if key in self._learned else self._state.user(project_id, user)
        return None if record is None else User.decode(record)


@lru_cache(1_000)  # a project has few
def _split(addons: str) -> tuple[str, str | None]:
    """Which member of an event's `user` says who it is, and the text of the other add-ons."""
    asked = orjson.loads(addons)
    others = [addon for addon in asked if addon["name"] != ATTACH]
    [member] = {addon["input"]["user"] for addon in asked if addon["name"] == ATTACH}
    return member, orjson.dumps(others).decode() if others else None
