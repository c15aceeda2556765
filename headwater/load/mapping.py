"""Columns of a file under other names: `--map a=b`, `--fix-names`, and dots."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from headwater.load.source import FormatError
from headwater.names import good_name, with_good_names
from headwater.rules import RuleError, check_property_name

_WORD = re.compile(r"[^\W\d](?:.*\S)?", re.DOTALL).fullmatch  # not a number's part, nor one of a sentence's


class Columns:
    """What becomes of a row's columns. A dot in the new name makes an object of it; without a new name the column is left out."""

    def __init__(self, maps: Sequence[str], *, fix_names: bool = False) -> None:
        """`maps` are `column=property`; `fix_names` is for names as they are in the file, at every level. Raises FormatError for one that is no such pair or names no property."""
        self._paths: dict[str, tuple[str, ...]] = {}
        self._fix_names = fix_names
        self._unseen: set[str] | None = None
        self.described = (*maps, *(("--fix-names",) if fix_names else ()))  # in the same words in every process
        for text in maps:
            column, equals, name = text.partition("=")
            if not equals or column in self._paths:
                raise FormatError(f"--map {text!r} is not COLUMN=PROPERTY, once for each column")
            self._paths[column] = tuple(name.split(".")) if name else ()
            try:
                for part in self._paths[column]:
                    check_property_name(part)
            except RuleError as error:
                raise FormatError(f"--map {text!r}: {error.description}") from None

    def has(self, column: str) -> bool:
        """Whether a column gets another name or is left out."""
        return column in self._paths

    def check(self, column: str) -> None:
        """Raises RuleError where a column's name makes no property, of whatever object."""
        if not self.has(column):
            for name in path_of(column, self):
                check_property_name(good_name(name) if self._fix_names else name)

    @property
    def names(self) -> list[str]:
        """The columns that get another name or are left out."""
        return [*self._paths]

    @property
    def left_out(self) -> set[str]:
        """The columns that are left out."""
        return {column for column, path in self._paths.items() if not path}

    @property
    def unseen(self) -> list[str]:
        """The columns that get another name or are left out, and that no row had which was `mapped`; none before there is a row."""
        return sorted(self._unseen or ())

    @property
    def changed(self) -> bool:
        """Whether any column may get another name or be left out."""
        return bool(self._paths) or self._fix_names

    def mapped(self, properties: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row under its new names. Raises ValueError where two columns would be one property."""
        if not self._paths and not self._fix_names:
            return properties
        made = {name: value for name, value in properties.items() if name not in self._paths}
        if self._unseen is None:
            self._unseen = set(self._paths)
        self._unseen.difference_update(properties)
        if self._fix_names:
            made = with_good_names(made)
        for column, path in self._paths.items():
            if column in properties and path:
                _put(made, path, properties[column])
        return made


def check_columns(header: Collection[str], names: Iterable[str], fields: Iterable[str]) -> None:
    """Raises FormatError where a column that an option names is none of the file's; `fields` may be within one, by dots."""
    wrong = [name for name in names if name not in header]
    wrong += [name for name in fields if name not in header and name.partition(".")[0] not in header]
    if wrong:
        raise FormatError(f"it has no column {wrong[0]!r}; its columns are {', '.join(map(repr, header))}"[:1_000])


def path_of(column: str, columns: Columns) -> tuple[str, ...]:
    """Where a column's value goes: within objects where dots join names in its own, as extractions and pandas write them, unless `columns` has it."""
    parts = column.split(".")
    return tuple(parts) if not columns.has(column) and all(map(_WORD, parts)) else (column,)


def nested(values: Iterable[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    """An object of what is at each path. Raises ValueError where two values would be at one, or one within another that is no object."""
    made: dict[str, Any] = {}
    for path, value in values:
        _put(made, path, value)
    return made


def _put(made: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    *parents, last = path
    place = made
    for name in parents:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise ValueError(f"the property {name!r} cannot hold {'.'.join(path)!r}: a column of that name has a value")
    if last in place:
        raise ValueError(f"two columns would be the property {'.'.join(path)!r}")
    place[last] = value
