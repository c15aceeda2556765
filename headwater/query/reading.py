"""The events of an extraction: how many there are, and they themselves as ClickHouse gives them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from clickhouse_connect.driver.client import Client

from headwater.query.catalogue import TypeCatalogue, covers
from headwater.query.compile import Plan, compile_extraction, compile_survey
from headwater.query.definition import Definition, paths_of
from headwater.query.errors import QueryError
from headwater.query.extraction import CSV, JSON
from headwater.query.paths import Path
from headwater.query.shape import event
from headwater.query.statements import Rows, Statements

MOST_KEYS = 100_000  # that are looked for before the events are read: a set of some megabytes


class Reading:
    """One extraction from one table. Call `survey`, then `events`."""

    def __init__(self, statements: Statements, catalogue: TypeCatalogue, definition: Definition, database: str) -> None:
        """Blocks while the table's parts are asked for the types of filtered properties, where that is not known yet."""
        self._statements = statements
        self._catalogue = catalogue
        self._definition = definition
        self._database = database
        limits = statements.limits
        to_lines = definition.to_file or definition.content_type != JSON
        self._most = limits.streamed_events if to_lines else limits.events
        self._known = catalogue.known(*self._looked_at())
        self._expected = definition.latest

    def survey(self) -> list[str]:
        """The paths of the properties of the events, where they are needed. Raises QueryError where there are more events than may be
        returned: before anything is sent, so that the answer can still say so."""
        definition, most = self._definition, self._most
        columns = definition.content_type == CSV and not definition.property_names
        if definition.latest is not None and definition.latest <= most and not columns:
            return []
        count, paths = self._surveyed(columns=columns)
        if not self._holds():
            count, paths = self._surveyed(columns=columns)
        self._expected = count if definition.latest is None else min(count, definition.latest)
        if self._expected > most:
            raise QueryError(
                "ExtractionLimitError",
                f"{count} events match, more than {most}: ask for a shorter timeframe, add filters, or give `latest`, {most} at "
                "most; as text/csv or application/x-ndjson, or with `email` into a file, there may be more.",
            )
        return list(paths)

    def plan(self) -> Plan:
        """The statement that reads the events."""
        few = self._expected is not None and self._expected <= MOST_KEYS
        by_key = few and bool(self._definition.filters)
        return compile_extraction(self._definition, self._database, self._known, self._most, by_key=by_key)

    def events(self) -> Iterator[dict[str, Any]]:
        """The events one by one, as they are read. The first comes when the statement is through."""
        rows = self._rows()
        first = next(rows, None)
        if not self._holds():
            rows.close()
            rows = self._rows()
            first = next(rows, None)
        names = self._definition.property_names
        if first is not None:
            yield event(first, names)
        for row in rows:
            yield event(row, names)

    def _rows(self) -> Rows:
        plan = self.plan()
        spill = {"max_bytes_before_external_sort": self._statements.limits.memory_bytes // 2}
        return self._statements.rows(plan.sql, plan.parameters, **spill)

    def _surveyed(self, *, columns: bool) -> tuple[int, list[str]]:
        plan = compile_survey(self._definition, self._database, self._known, columns=columns)
        count, paths = next(self._statements.rows(plan.sql, plan.parameters), (0, []))
        return count, paths

    def _holds(self) -> bool:
        """Whether a statement that is through saw no types but those that were known; if not, nothing is taken as known any more."""
        if not self._known or covers(self._known, self._catalogue.types(*self._looked_at())):
            return True
        self._known = None
        return False

    def _looked_at(self) -> tuple[Client, str, str, Iterable[Path], Mapping[str, Any]]:
        statements, definition = self._statements, self._definition
        return statements.client, self._database, definition.collection, paths_of(definition), statements.settings()
