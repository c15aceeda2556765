"""Answers of datasets: made ahead bucket by bucket, the last 48 hours anew each hour; what is not kept is asked for when it is wanted.

What was made before a deletion in the dataset's collection is never an answer again, and is made anew.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from api.kept import KeptTables
from api.memory import Memory
from api.queries import Queries
from headwater import exact_json
from headwater.control import Deletions
from headwater.query import QueryError
from headwater.query.restriction import restrict
from headwater.query.timeframe import Timeframe
from headwater.saved.dataset import Dataset, Index, index_filters, index_text, whole_buckets
from headwater.saved.dataset_results import DatasetTable, Kept, Row, State

REFRESH_SECONDS = 3_600.0
AGAIN_MS = 48 * 3_600_000  # events that late are still counted
BUCKETS_AT_ONCE = 100
MEMORY_VALUES = 200_000
LOOK_AGAIN_SECONDS = 1.0
TOO_MUCH = ("QueryGroupLimitError", "QueryMemoryLimitError")  # what fewer buckets may pass


class Reading(NamedTuple):
    """What was read of a dataset: a span of buckets, some values of its index."""

    project_id: str
    name: str
    version: int
    deletions: int
    start: int
    end: int
    indexes: tuple[str, ...]


class DatasetAnswers:
    """Belongs to one event loop. Everything raises QueryError."""

    def __init__(self, queries: Queries, tables: KeptTables, deletions: Deletions) -> None:
        self._queries = queries
        self._tables = tables
        self._deletions = deletions
        self._memory = Memory[Reading, Kept](MEMORY_VALUES)

    async def states(self) -> dict[tuple[str, str, int], State]:
        """How far each dataset is after the most deletions, by project, name and version."""
        return await self._tables.run(lambda client: DatasetTable(client).states())

    async def forget(self, project_id: str, name: str) -> None:
        """Delete all that is kept of a dataset."""
        self._memory.forget(lambda reading: reading[:2] == (project_id, name))
        await self._tables.run(lambda client: DatasetTable(client).forget(project_id, name))

    def deletions(self, dataset: Dataset) -> int:
        """How often deletions have been done in a dataset's collection."""
        return self._deletions.times_done(dataset.project_id, (dataset.collection,))

    async def refresh(self, dataset: Dataset) -> None:
        """Make the buckets that are missing, and those of the last 48 hours before the last refresh anew."""
        now = time.time_ns() // 1_000_000
        definition = dataset.definition(now)
        assert definition.timeframe is not None
        spans = whole_buckets(definition, definition.timeframe)
        deletions = self.deletions(dataset)
        kept = await self._kept(dataset, deletions, spans)
        again = max(kept.made.values(), default=0) - AGAIN_MS
        first = next((i for i, span in enumerate(spans) if span.start not in kept.made or span.end > again), len(spans))
        for start in range(first, len(spans), BUCKETS_AT_ONCE):
            await self._make(dataset, deletions, spans[start : start + BUCKETS_AT_ONCE])

    async def result(
        self,
        dataset: Dataset,
        candidates: Sequence[Index],
        timeframe: Timeframe,
        filters: Sequence[dict[str, Any]],
        key_id: str,
    ) -> list[dict[str, Any]]:
        """The values of an index (the first candidate that has any) in each bucket that a timeframe touches, start and end in
        milliseconds; under filters, which only events themselves can tell. What has to be asked for is asked for a key.
        """
        spans = whole_buckets(dataset.definition(time.time_ns() // 1_000_000), timeframe)
        values: list[Any] = []
        if not filters:
            texts = [index_text(index) for index in candidates]
            kept = await self._remembered(dataset, spans, texts)
            made = next((i for i, span in enumerate(spans) if span.start not in kept.made), len(spans))
            text = next((text for text in texts if text in kept.values), None)
            found = kept.values.get(text, {}) if text else {}
            values = [
                exact_json.loads(found[span.start].encode()) if span.start in found else dataset.nothing
                for span in spans[:made]
            ]
            if text:
                candidates = [candidates[texts.index(text)]]
        if len(values) < len(spans):
            rest = Timeframe(spans[len(values)].start, spans[-1].end)
            forced = index_filters(dataset.index_by, candidates)
            question = dataset.question(rest, forced, indexed=False)
            with self._queries.place(key_id):
                values += [bucket["value"] for bucket in await self._ask(dataset, question, filters)]
        return [
            {"start": span.start, "end": span.end, "value": value} for span, value in zip(spans, values, strict=True)
        ]

    async def _make(self, dataset: Dataset, deletions: int, spans: Sequence[Timeframe]) -> None:
        now = time.time_ns() // 1_000_000
        whole = Timeframe(spans[0].start, spans[-1].end)
        try:
            answer = await self._ask(dataset, dataset.question(whole), (), background=True)
        except QueryError as error:
            if error.name not in TOO_MUCH or len(spans) == 1:
                raise
            half = len(spans) // 2
            await self._make(dataset, deletions, spans[:half])
            await self._make(dataset, deletions, spans[half:])
            return
        rows: list[Row] = [
            (span.start, index_text(index), exact_json.dumps(value).decode())
            for span, bucket in zip(spans, answer, strict=True)
            for index, value in dataset.values(bucket["value"])
        ]
        await self._tables.run(
            lambda client: DatasetTable(client).store(dataset, deletions, now, [span.start for span in spans], rows)
        )

    async def _ask(
        self,
        dataset: Dataset,
        question: dict[str, Any],
        filters: Sequence[dict[str, Any]],
        *,
        background: bool = False,
    ) -> list[dict[str, Any]]:
        parameters = restrict(dataset.analysis, question, filters)
        reply = await self._queries.answer(dataset.project_id, dataset.analysis, parameters, background=background)
        buckets: list[dict[str, Any]] = exact_json.loads(reply.text)["result"]
        return buckets

    async def _remembered(self, dataset: Dataset, spans: Sequence[Timeframe], texts: Sequence[str]) -> Kept:
        """What is kept; where no bucket is missing it is read again when a refresh is due, and each second while that is late."""
        deletions = self.deletions(dataset)
        span = spans[0].start, spans[-1].end
        reading = Reading(dataset.project_id, dataset.name, dataset.version, deletions, *span, tuple(texts))
        kept = self._memory.get(reading)
        if kept is None:
            kept = await self._kept(dataset, deletions, spans, texts)
            if len(kept.made) == len(spans):
                due = max(kept.made.values()) / 1000 + REFRESH_SECONDS
                size = len(spans) * (1 + len(kept.values))
                self._memory.put(reading, kept, size, max(due, time.time() + LOOK_AGAIN_SECONDS))
        return kept

    async def _kept(
        self, dataset: Dataset, deletions: int, spans: Sequence[Timeframe], indexes: Sequence[str] = ()
    ) -> Kept:
        if not spans:
            return Kept()
        start, end = spans[0].start, spans[-1].end
        return await self._tables.run(lambda client: DatasetTable(client).read(dataset, deletions, start, end, indexes))
