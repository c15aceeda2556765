"""A property in SQL: one expression for each type that its values can have.

ClickHouse keeps a JSON path's values per type, so every use of a property is a combination of typed subcolumns; the
path itself (type Dynamic) is never compared or grouped by. Reading few subcolumns is what makes a query fast: where the types
that occur under a path are known, the others' expressions are None.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from headwater.query.paths import Path

ARRAY = "Array("
OBJECT = "Object"  # what has properties below it; no type of the engine's
Types = Mapping[
    str, frozenset[str]
]  # path -> the engine's names of the types that occur, and OBJECT; all paths of a query


@dataclass(frozen=True)
class KeyPart:
    """One SQL column of a value that is grouped by or told apart: at most one part of a value is not NULL."""

    kind: str  # integer, real, text, boolean, array
    sql: str


@dataclass(frozen=True)
class Property:
    """The typed expressions of one property, each NULL (arrays: empty) where the value has another type."""

    integer: str | None  # Nullable(Int64)
    real: str | None  # Nullable(Float64)
    text: str | None  # Nullable(String)
    boolean: str | None  # Nullable(Bool)
    arrays: Mapping[str, str]  # the element's type -> Array of it
    whole_array: str | None  # Nullable(String): any array as JSON text
    present: str  # UInt8: there is a value, an object among them
    time: str | None = None  # DateTime64, for the times that are columns

    @property
    def number(self) -> str | None:
        """Every number as Nullable(Float64)."""
        if self.integer and self.real:
            return f"coalesce({self.real}, toFloat64({self.integer}))"
        return self.real or (self.integer and f"toFloat64({self.integer})")

    @property
    def key_parts(self) -> list[KeyPart]:
        """The columns that tell values apart: by type and value, but 1 and 1.0 are one."""
        parts = []
        if self.integer and self.real:
            whole = f"accurateCastOrNull({self.real}, 'Int64')"
            parts.append(KeyPart("integer", f"ifNull({self.integer}, {whole})"))
            parts.append(KeyPart("real", f"if(isNull({whole}), {self.real}, NULL)"))
        elif self.integer:
            parts.append(KeyPart("integer", self.integer))
        elif self.real:
            parts.append(KeyPart("real", f"{self.real} + 0."))  # -0. is 0.
        for kind, sql in (("text", self.text), ("boolean", self.boolean), ("array", self.whole_array)):
            if sql:
                parts.append(KeyPart(kind, sql))
        return parts


def property_of(path: Path, types: Types | None) -> Property:
    """The expressions of a path. `types`: what is known to occur in the table, None where nothing is known."""
    column = path.column
    if column == "id":
        return Property(None, None, "toString(id)", None, {}, None, "1")
    if column:
        return Property(
            None, None, f"concat(replaceOne(toString({column}), ' ', 'T'), 'Z')", None, {}, None, "1", column
        )
    known = None if types is None else types[path.name]

    def typed(name: str) -> str | None:
        return f"{path.sql}.:{name}" if known is None or name in known else None

    arrays = {}
    for element in ("Nullable(String)", "Nullable(Int64)", "Nullable(Float64)", "Nullable(Bool)", "Dynamic"):
        name = f"Array({element})"
        if known is None or name in known:
            arrays[element] = f"{path.sql}.:`{name}`"
    has_arrays = known is None or any(name.startswith(ARRAY) for name in known)
    return Property(
        integer=typed("Int64"),
        real=typed("Float64"),
        text=typed("String"),
        boolean=typed("Bool"),
        arrays=arrays,
        whole_array=f"if(startsWith(dynamicType({path.sql}), 'Array'), toJSONString({path.sql}), NULL)"
        if has_arrays
        else None,
        present=_present(path, known),
    )


def _present(path: Path, known: frozenset[str] | None) -> str:
    tests = [f"isNotNull({path.sql})"] if known is None or known - {OBJECT} else []
    if known is None or OBJECT in known:
        tests.append(f"notEmpty(JSONAllPaths({path.sub_object}))")
    return f"({' or '.join(tests) or '0'})"
