"""A dataset: one question answered ahead for every value of its index, bucket by bucket of time. Pure; results.py keeps what it gives."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import pairwise
from typing import Any

import orjson

from headwater.control.records import Record, object_record
from headwater.query.calendar import boundaries
from headwater.query.definition import METRICS, Definition, parse_definition
from headwater.query.errors import QueryError, shown
from headwater.query.intervals import MAX_BUCKETS
from headwater.query.paths import parse_path
from headwater.query.timeframe import Timeframe
from headwater.query.zones import iso
from headwater.saved.definition import object_id, read_object

KIND = "dataset"  # of its records in the control plane
INDEXES_MAX = 3
ANALYSES = (*METRICS, "multi_analysis")
NOTHING: Mapping[str, Any] = {"count": 0, "count_unique": 0, "sum": 0, "select_unique": []}  # of the others null

Index = tuple[Any, ...]  # a value for each property of index_by


@dataclass(frozen=True)
class Dataset:
    """A dataset in one version. `query` is as it was given, its `analysis_type` among the parameters."""

    project_id: str
    name: str
    version: int
    query: dict[str, Any]
    index_by: tuple[str, ...]
    display_name: str
    created_at: int  # milliseconds since 1970 UTC

    @property
    def analysis(self) -> str:
        """The analysis that it asks for."""
        name: str = self.query["analysis_type"]
        return name

    @property
    def collection(self) -> str:
        """The collection that it reads."""
        name: str = self.query["event_collection"]
        return name

    def definition(self, now: int) -> Definition:
        """The question seen at an instant: its timeframe is what is kept."""
        definition = parse_definition(self.analysis, self.query, now)
        assert isinstance(definition, Definition)  # `parse_dataset` lets no other analysis through
        return definition

    @property
    def nothing(self) -> Any:
        """The value of a bucket without events."""
        if self._groups:
            return []
        if self.analysis != "multi_analysis":
            return NOTHING.get(self.analysis)
        return {label: NOTHING.get(one["analysis_type"]) for label, one in self.query["analyses"].items()}

    def question(self, span: Timeframe, filters: Sequence[Any] = (), indexed: bool = True) -> dict[str, Any]:
        """The parameters that ask for a span of whole buckets, under filters; for every value of the index where `indexed`."""
        own = self.query.get("filters") or []
        return {
            **{name: one for name, one in self.query.items() if name != "analysis_type" and one is not None},
            "timeframe": {"start": iso(span.start, UTC), "end": iso(span.end, UTC)},
            "filters": [*(own if isinstance(own, list) else [own]), *filters],
            "group_by": [*(self.index_by if indexed else ()), *self._groups],
            "zero_fill": False,
        }

    def values(self, groups: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Index, Any]]:
        """A bucket of groups, as asked by an indexed question, as the value of each index; null is no index."""
        found: dict[str, tuple[Index, list[Any]]] = {}
        for group in groups:
            index = tuple(group[name] for name in self.index_by)
            if None not in index:
                rest = {name: one for name, one in group.items() if name not in self.index_by}
                found.setdefault(index_text(index), (index, []))[1].append(rest)
        for index, rests in found.values():
            if self._groups:
                yield index, rests
            else:
                yield index, rests[0] if self.analysis == "multi_analysis" else rests[0]["result"]

    @property
    def _groups(self) -> list[Any]:
        given = self.query.get("group_by") or []
        return given if isinstance(given, list) else [given]


def parse_dataset(project_id: str, name: str, body: Mapping[str, Any], now: int) -> Dataset:
    """The dataset that a body describes. Raises QueryError."""
    query, index_by = body.get("query"), body.get("index_by")
    if not isinstance(query, dict):
        raise _wrong(
            "query", f"{shown(query)} must be an object with analysis_type, event_collection, timeframe, interval"
        )
    if query.get("analysis_type") not in ANALYSES:
        raise _wrong("query", f"the analysis_type {shown(query.get('analysis_type'))} is none of {', '.join(ANALYSES)}")
    indexes = tuple(index_by) if isinstance(index_by, list) else (index_by,)
    if not 0 < len(indexes) <= INDEXES_MAX or len({*map(str, indexes)}) < len(indexes):
        raise _wrong("index_by", f"{shown(index_by)} must name 1 to {INDEXES_MAX} different properties")
    names = tuple(parse_path(one, "index_by").name for one in indexes)
    for member in ("order_by", "limit"):
        if query.get(member) not in (None, []):
            raise _wrong("query", f"a dataset takes no {member}")
    display_name = body.get("display_name")
    dataset = Dataset(project_id, name, 1, query, names, display_name if isinstance(display_name, str) else name, now)
    definition = dataset.definition(now)
    if definition.timeframe is None or definition.interval is None:
        raise _wrong("query", "a dataset needs a timeframe and an interval")
    if definition.interval.number != 1:
        raise _wrong("query", "its interval must be of single units, such as 'hourly' or 'daily'")
    if {*names} & {key.name for key in definition.group_by}:
        raise _wrong("index_by", "a property of group_by cannot be an index too")
    whole_buckets(definition, definition.timeframe)
    parse_definition(
        dataset.analysis, dataset.question(definition.timeframe), now
    )  # as it is asked, grouped by the index
    return dataset


def dataset_record(dataset: Dataset) -> Record:
    """Its record."""
    body = {"query": dataset.query, "index_by": list(dataset.index_by), "display_name": dataset.display_name}
    identity = object_id(dataset.project_id, dataset.name)
    return object_record(KIND, identity, dataset.version, dataset.created_at, body)


def read_dataset(record: Record | None) -> Dataset | None:
    """The dataset of a record; None where it was deleted or never was."""
    found = read_object(record)
    if record is None or found is None:
        return None
    project_id, name, body = found
    return Dataset(
        project_id,
        name,
        record["version"],
        body["query"],
        tuple(body["index_by"]),
        body["display_name"],
        record["written_at"],
    )


def whole_buckets(definition: Definition, timeframe: Timeframe) -> list[Timeframe]:
    """The buckets that a timeframe touches, whole, so that one is the same whatever timeframe it is in. Raises QueryError."""
    assert definition.interval is not None
    edges: list[int] = []
    for boundary in boundaries(timeframe.start, definition.interval.unit, 1, definition.zone):
        edges.append(boundary)
        if boundary >= timeframe.end:
            break
        if len(edges) > MAX_BUCKETS:
            raise _wrong("timeframe", f"it has more than {MAX_BUCKETS} intervals; choose a longer interval")
    return [Timeframe(start, end) for start, end in pairwise(edges)]


def index_text(index: Index) -> str:
    """An index as text: one for each value, 4 and 4.0 being the same."""
    return orjson.dumps([int(one) if isinstance(one, float) and one.is_integer() else one for one in index]).decode()


def parse_index(value: object, index_by: Sequence[str]) -> list[Index]:
    """What a parameter `index_by` may mean, the likeliest first: an object by property, a list in the order of the dataset's
    properties, or one value, as JSON or as plain text. Raises QueryError.
    """
    given = value
    if isinstance(value, str):
        try:
            given = orjson.loads(value)
        except orjson.JSONDecodeError:
            given = value
    if isinstance(given, dict):
        if given.keys() != {*index_by}:
            raise _wrong("index_by", f"{shown(value)} must have a value for each of {', '.join(index_by)}")
        found = [tuple(given[name] for name in index_by)]
    elif isinstance(given, list):
        found = [tuple(given)]
    else:
        plain = isinstance(value, str) and not value.startswith('"') and given is not value
        found = [(value,), (given,)] if plain else [(given,)]
    for index in found:
        if len(index) != len(index_by) or not all(isinstance(one, str | int | float) for one in index):
            raise _wrong("index_by", f"{shown(value)} must be a value for each of {', '.join(index_by)}")
    return found


def index_filters(index_by: Sequence[str], candidates: Sequence[Index]) -> list[dict[str, Any]]:
    """Filters that choose the events of an index: any of the candidates."""
    return [
        {"property_name": name, "operator": "in", "property_value": [index[place] for index in candidates]}
        for place, name in enumerate(index_by)
    ]


def _wrong(member: str, what: str) -> QueryError:
    return QueryError("DatasetDefinitionError", f"You sent in an invalid definition for {member}: {what}.")
