"""What a key permits: the answer of the key check, for whatever kind of key it was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Operation = Literal["writes", "queries", "saved_queries", "cached_queries", "datasets", "schema"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
Need = Operation | Literal["master"]  # "master": what only a project's master key may do
DatasetOperation = Literal["read", "list", "retrieve"]  # results, the list of datasets, a definition
GrantKind = Literal["master", "write", "read", "access", "scoped"]

READING: frozenset[Operation] = frozenset(OPERATIONS) - {"writes"}
PERMITTED: dict[str, frozenset[Operation]] = {
    "master": frozenset(OPERATIONS),
    "write": frozenset({"writes"}),
    "read": READING,
}


@dataclass(frozen=True, slots=True)
class Grant:
    """What the key of a request may do in its project, and under which restrictions (`options`, as Keen's keys have them)."""

    project_id: str
    key_id: str  # one for each key, and no secret
    kind: GrantKind
    permitted: frozenset[Operation]
    options: Mapping[str, Any] = field(default_factory=dict)

    def permits(self, need: Need) -> bool:
        """Whether the key is good for it."""
        return self.kind == "master" if need == "master" else need in self.permitted

    @property
    def filters(self) -> list[dict[str, Any]]:
        """The filters that hold for everything that is read with the key; what cannot be filtered must be refused."""
        return self._family("queries").get("filters") or []

    @property
    def autofill(self) -> dict[str, Any]:
        """What is merged into every event that is written with the key."""
        return self._family("writes").get("autofill") or {} if self.options else {}

    def opens_saved_query(self, name: str, cached: bool) -> bool:
        """Whether the result of a saved query may be read; `cached` where it has a refresh rate."""
        families: list[Operation] = ["saved_queries", "cached_queries"] if cached else ["saved_queries"]
        options = [self._family(family) for family in families if family in self.permitted]
        if any(name in (one.get("blocked") or ()) for one in options):
            return False
        return any(one.get("allowed") is None or name in one["allowed"] for one in options)

    def saved_query_filters(self, name: str) -> list[dict[str, Any]]:
        """The filters that hold for the result of a saved query."""
        given = self._family("saved_queries").get("filters") or []
        return [*self.filters, *(given.get(name) or [] if isinstance(given, dict) else given)]

    def opens_dataset(self, operation: DatasetOperation, name: str | None) -> bool:
        """Whether a dataset, or with None any, may be read, listed or retrieved."""
        options = self._family("datasets")
        operations = options.get("operations")
        if operations is not None and operation not in operations:
            return False
        allowed = options.get("allowed")
        return name is None or ((allowed is None or name in allowed) and name not in (options.get("blocked") or ()))

    def dataset_index(self, name: str) -> Mapping[str, Any]:
        """The values of a dataset's index that may be asked for, by property: a list or one; none where all may be."""
        allowed = self._family("datasets").get("allowed")
        limits = allowed.get(name) if isinstance(allowed, dict) else None
        return (limits or {}).get("index_by") or {}

    def _family(self, name: str) -> Mapping[str, Any]:
        return self.options.get(name) or {}
