"""Writing deletions to the control plane."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from headwater.control.deletions import DELETION, Deletion, deletion_body
from headwater.control.follower import ControlPlane
from headwater.control.model import ControlError
from headwater.control.records import Record, changed, object_record
from headwater.control.seal import Seal
from headwater.control.writer import ControlWriter
from headwater.settings import Settings


class DeletionWriter:
    """Writes deletions by a writer that it is given. All methods block until what they wrote is read back.

    They raise ControlError where the control plane cannot be written. Safe to use from several threads.
    """

    def __init__(self, settings: Settings, writer: ControlWriter) -> None:
        self._seal = Seal(settings.required_secret())
        self._writer = writer

    @property
    def plane(self) -> ControlPlane:
        """The control plane as it is read back."""
        return self._writer.plane

    def delete(
        self,
        project_id: str,
        collection: str,
        *,
        property_name: str | None = None,
        filters: Sequence[Mapping[str, Any]] = (),
        timeframe: Mapping[str, str] | None = None,
    ) -> Deletion:
        """A new deletion, of what was received until now. `timeframe` is absolute."""
        identity = secrets.token_hex(12)

        def records(now: int) -> list[Record]:
            deletion = Deletion(identity, project_id, collection, now, property_name, tuple(filters), timeframe)
            return [object_record(DELETION, identity, 1, now, deletion_body(deletion, self._seal))]

        self._writer.write(records)
        deletion = self.plane.deletions.get(identity)
        if deletion is None:
            raise ControlError("The deletion was written but cannot be read back; is another secret in use?")
        return deletion

    def ask_again(self, deletion: Deletion) -> None:
        """Have a deletion done once more: covered events came in, maybe after it had looked for them."""

        def records(now: int) -> list[Record]:
            record, newest = self._newest(deletion)
            return [changed(record, now, {"asked": newest.asked + 1, "done_at": None})]

        self._writer.write(records)

    def done(self, deletion: Deletion) -> bool:
        """Say that a deletion was done; False where it was asked for again since `deletion` was read, and has to be done
        once more."""
        asked = deletion.asked

        def records(now: int) -> list[Record]:
            nonlocal asked
            record, newest = self._newest(deletion)
            asked = newest.asked
            return [changed(record, now, {"done_at": now})] if asked == deletion.asked else []

        self._writer.write(records)
        return asked == deletion.asked

    def _newest(self, deletion: Deletion) -> tuple[Record, Deletion]:
        record, newest = self.plane.record(DELETION, deletion.id), self.plane.deletions.get(deletion.id)
        if record is None or newest is None:
            raise ControlError(f"There is no deletion {deletion.id}.")
        return record, newest
