"""What an access key permits and its options, checked before they are stored.

A restriction that is not understood is refused, never passed over: a key must not permit more than its maker believes.
"""

import copy
from collections.abc import Callable
from typing import Any, get_args

from headwater.control import OPERATIONS, Operation
from headwater.control.grant import DatasetOperation
from headwater.query import QueryError
from headwater.query.errors import shown
from headwater.query.filters import parse_filters
from headwater.rules import RuleError, check_event, take_reserved

INDEXES_MAX = 3
DATASET_OPERATIONS = get_args(DatasetOperation)


class InvalidKeyError(ValueError):
    """What is said of a key cannot be; the message names the member and what would be right."""


def parse_permitted(value: object) -> tuple[Operation, ...]:
    """The operations that `permitted` names; none where it is absent. Raises InvalidKeyError."""
    given = _names([] if value is None else value, "permitted")
    unknown = [name for name in given if name not in OPERATIONS]
    if unknown:
        raise InvalidKeyError(f"`permitted` has {shown(unknown[0])}; there are {', '.join(OPERATIONS)}.")
    return tuple(operation for operation in OPERATIONS if operation in given)


def parse_options(value: object, max_depth: int) -> dict[str, Any]:
    """The families of options that are set, as they were given. `max_depth`: of an event. Raises InvalidKeyError."""
    members: dict[str, dict[str, Callable[[Any, str], object]]] = {
        "writes": {"autofill": lambda given, where: _autofill(given, where, max_depth)},
        "queries": {"filters": _filters},
        "saved_queries": {"allowed": _names, "blocked": _names, "filters": _filters_by_name},
        "cached_queries": {"allowed": _names, "blocked": _names},
        "datasets": {"operations": _dataset_operations, "allowed": _datasets, "blocked": _names},
    }
    options = _object({} if value is None else value, "options", members)
    for family, given in options.items():
        where = f"options.{family}"
        for name, one in _object(given, where, members[family]).items():
            members[family][name](one, f"{where}.{name}")
    return options


def _object(value: object, where: str, known: dict[str, Any]) -> dict[str, Any]:
    """An object's members that are not null, all of them known."""
    if not isinstance(value, dict):
        raise InvalidKeyError(f"`{where}` must be an object, not {shown(value)}.")
    given = {name: one for name, one in value.items() if one is not None}
    for name in given:
        if name not in known:
            raise InvalidKeyError(f"`{where}` has no member {shown(name)}; there are {', '.join(known)}.")
    return given


def _names(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidKeyError(f"`{where}` must be a list of names, not {shown(value)}.")
    return value


def _filters(value: object, where: str) -> None:
    if not isinstance(value, list):
        raise InvalidKeyError(f"`{where}` must be a list of filters, not {shown(value)}.")
    try:
        parse_filters(value)
    except QueryError as error:
        raise InvalidKeyError(f"`{where}`: {error.message}") from None


def _filters_by_name(value: object, where: str) -> None:
    """Filters for all saved queries, or for each one by its name."""
    if isinstance(value, dict):
        for name, one in value.items():
            _filters(one, f"{where}.{name}")
    else:
        _filters(value, where)


def _dataset_operations(value: object, where: str) -> None:
    for name in _names(value, where):
        if name not in DATASET_OPERATIONS:
            raise InvalidKeyError(f"`{where}` has {shown(name)}; there are {', '.join(DATASET_OPERATIONS)}.")


def _datasets(value: object, where: str) -> None:
    """Names of datasets; or for each, which values of its index may be asked for: {name: {"index_by": {property: [value, ...]}}}."""
    if not isinstance(value, dict):
        _names(value, where)
        return
    for name, limits in value.items():
        within = _object({} if limits is None else limits, f"{where}.{name}", {"index_by": None}).get("index_by", {})
        if not isinstance(within, dict) or len(within) > INDEXES_MAX:
            raise InvalidKeyError(f"`{where}.{name}.index_by` must be an object of properties with their values.")
        for name_of, values in within.items():
            listed = values if isinstance(values, list) else [values]
            if not all(isinstance(one, str | int | float | bool) for one in listed):
                raise InvalidKeyError(f"`{where}.{name}.index_by.{name_of}` must be a value or a list of values.")


def _autofill(value: object, where: str, max_depth: int) -> None:
    """Something that every event may have: by itself it is an event."""
    try:
        event = copy.deepcopy(value)
        check_event(event, max_depth)
        assert isinstance(event, dict)
        take_reserved(event)
    except RuleError as error:
        raise InvalidKeyError(f"`{where}`: {error.description}") from None
