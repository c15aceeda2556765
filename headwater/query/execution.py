"""What finding an answer took, as Keen's `execution_metadata` tells it."""

from dataclasses import dataclass
from typing import Any

from headwater.query.definition import Query, paths_of
from headwater.query.funnel import Funnel
from headwater.query.paths import Path
from headwater.query.retention import Retention

TIMESTAMP = Path("keen.timestamp")


@dataclass(frozen=True)
class Execution:
    """Rows that ClickHouse read (an event that is stored twice is read twice, and one that two steps look at may be, too), how
    many different properties of each the question looks at, and the seconds that it took. Without figures: nothing was read.
    """

    events_scanned: int = 0
    properties_per_event: int = 0
    seconds: float = 0.0

    @property
    def metadata(self) -> dict[str, Any]:
        """Keen's object."""
        return {
            "events_scanned": self.events_scanned,
            "properties_per_event": self.properties_per_event,
            "total_properties_scanned": self.events_scanned * self.properties_per_event,
            "total_processing_time": self.seconds,
        }


def properties_read(query: Query) -> int:
    """How many different properties of an event a question looks at, its time among them where that matters."""
    if isinstance(query, Funnel):
        deeds = [step.deed for step in query.steps]
        timed = query.ordered or any(deed.timeframe for deed in deeds)
        return len({path for deed in deeds for path in deed.paths} | ({TIMESTAMP} if timed else set()))
    if isinstance(query, Retention):
        return len(query.first.paths | query.returning.paths | {TIMESTAMP})
    return len(paths_of(query) | ({TIMESTAMP} if query.timeframe else set()))
