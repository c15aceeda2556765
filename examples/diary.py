"""What happens in a made-up business, noted event by event."""

from collections import defaultdict
from datetime import datetime
from typing import Any

Event = dict[str, Any]


class Diary:
    """Collects events until `end`; what would happen later is left out."""

    def __init__(self, end: datetime) -> None:
        self._end = end
        self._collections: defaultdict[str, list[tuple[datetime, Event]]] = defaultdict(list)

    def note(self, collection: str, at: datetime, **properties: Any) -> None:
        """An event of a collection."""
        if at < self._end:
            self._collections[collection].append((at, properties))

    def events(self) -> dict[str, list[Event]]:
        """The events of each collection in order of time, as `add_events` takes them.

        Each has its time and an id under `keen`, the same in every run: sent twice, they are the same events.
        """
        return {
            collection: [
                {**properties, "keen": {"timestamp": at.isoformat(), "uniqueness_token": f"{collection}-{number}"}}
                for number, (at, properties) in enumerate(sorted(noted, key=lambda one: one[0]), 1)
            ]
            for collection, noted in self._collections.items()
        }
