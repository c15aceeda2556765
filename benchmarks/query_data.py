"""What queries are measured on: a web shop's events, in a table as the sink leaves it, and the same in Parquet.

The engine makes the events itself from their numbers, so that they are the same in every run: 22 properties of strings (few values,
many, nearly one for each event), integers, floats, prices that are either (as JavaScript sends them), booleans and lists, some under
others, some often missing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from clickhouse_connect.driver.client import Client

from sinks.datums import Collection
from sinks.insert import SETTINGS
from sinks.tables import COLUMNS, create_database, create_table, quoted, table

COLLECTION = "events"
START = 1_735_689_600_000  # 2025-01-01T00:00:00Z in milliseconds
SPAN = 365 * 86_400_000
NOW = START + SPAN
MONTHS = 12
LATE_PARTS = 4  # that are not merged yet
LATE_SHARE = 100  # one in so many events is in them
REPEATED = 1_000  # one in so many of the newest month's other events is in them once more


@dataclass(frozen=True)
class Property:
    """One property: its dotted name, its type in Parquet, and the SQL that makes its values of an event's `number`."""

    name: str
    kind: str
    sql: str

    @property
    def column(self) -> str:
        """Its column in Parquet."""
        return self.name.replace(".", "_")


def _hash(salt: int) -> str:
    return f"cityHash64(number, {salt})"


def _few(names: tuple[str, ...], salt: int) -> str:
    """One of a few names, the first ones more often."""
    return f"{list(names)}[1 + toUInt64({len(names)} * pow(({_hash(salt)} % 10007) / 10007, 2))]"


def _missing(percent: int, salt: int, sql: str) -> str:
    return f"if({_hash(salt)} % 100 < {percent}, NULL, {sql})"


_COUNTRIES = (
    "US", "DE", "GB", "FR", "NL", "BR", "IN", "CA", "AU", "ES", "IT", "PL", "SE", "JP", "MX", "BE", "CH", "AT", "DK", "NO",
    "FI", "PT", "IE", "CZ", "RO", "GR", "HU", "TR", "ZA", "AR", "CL", "CO", "PE", "KR", "TW", "SG", "NZ", "IL", "AE",
)  # fmt: skip
_TAGS = ("new", "sale", "outdoor", "kids", "winter", "summer", "blue", "red", "steel", "wood", "gift", "last")
_BOUGHT = "number % 10 < 3"  # who bought has price, quantity and items
_PAGE = "toUInt64(5000 * pow((cityHash64(number, 30) % 1000003) / 1000003, 3))"
_USER = "toUInt64(500000 * pow((cityHash64(number, 31) % 1000003) / 1000003, 2))"

PROPERTIES = (
    Property("kind", "String", "if(number % 10 < 3, 'purchase', ['view', 'view', 'view', 'search', 'cart'][1 + cityHash64(number, 1) % 5])"),
    Property("session", "String", "lower(hex(cityHash64(intDiv(number, 6), 2)))"),
    Property("user.id", "String", f"concat('u_', toString({_USER}))"),
    Property("user.plan", "Nullable(String)", _missing(20, 3, _few(("free", "team", "business"), 4))),
    Property("user.age", "Nullable(Int64)", _missing(30, 5, f"toInt64(16 + {_hash(6)} % 70)")),
    Property("country", "String", _few(_COUNTRIES, 7)),
    Property("device.os", "String", _few(("Android", "iOS", "Windows", "macOS", "Linux"), 8)),
    Property("device.mobile", "Bool", f"({_hash(9)} % 5 < 3)::Bool"),
    Property("device.browser", "String", f"concat('Browser ', toString({_hash(10)} % 40))"),
    Property("page.path", "String", f"concat('/', {_few(('shoes', 'tents', 'lamps', 'books'), 11)}, '/product-', toString({_PAGE}))"),
    Property("page.title", "String", f"concat('Product ', toString({_PAGE}), ', ', {_few(('blue', 'green', 'light', 'heavy'), 12)}, ' | The Shop')"),
    Property("referrer", "Nullable(String)", _missing(60, 13, f"concat('https://', {_few(('www.google.com', 't.co', 'news.example', 'www.bing.com'), 14)}, '/?q=', toString({_hash(15)} % 100000))")),
    Property("price", "Nullable(Float64)", f"if({_BOUGHT}, {_hash(16)} % 2000 / 4, NULL)"),
    Property("quantity", "Nullable(Int64)", f"if({_BOUGHT}, toInt64(1 + {_hash(17)} % 9), NULL)"),
    Property("items", "Array(Int64)", f"if({_BOUGHT}, arrayMap(k -> toInt64(cityHash64(number, 18, k) % 3000), range(1 + {_hash(19)} % 3)), [])"),
    Property("latency", "Float64", f"{_hash(20)} % 160000 / 64 + 1 / 128"),
    Property("score", "Int64", f"toInt64({_hash(21)} % 201) - 100"),
    Property("returning", "Bool", f"({_hash(22)} % 4 = 0)::Bool"),
    Property("tags", "Array(String)", f"arrayMap(k -> {list(_TAGS)}[1 + cityHash64(number, 23, k) % 12], range({_hash(24)} % 4))"),
    Property("experiment.variant", "Nullable(String)", _missing(50, 25, _few(("a", "b"), 26))),
    Property("coupon", "Nullable(String)", _missing(98, 27, f"concat('SAVE', toString({_hash(28)} % 300))")),
    Property("version", "String", f"concat('2.', toString({_hash(29)} % 30), '.0')"),
)  # fmt: skip

_OWN = (
    "reinterpretAsUUID(sipHash128(number)) AS id",
    "fromUnixTimestamp64Milli(at, 'UTC') AS timestamp",
    "fromUnixTimestamp64Milli(at + 40, 'UTC') AS received_at",
)


def load(client: Client, project_id: str, count: int, parquet: str) -> None:
    """Make `count` events: in the collection's table, each month merged into one part but for LATE_PARTS of the newest, which
    overlap and repeat some events; and, each once, in files `<parquet>/<month>.parquet` below the engine's user files.

    Blocks for as long as that takes: a minute for a million events.
    """
    collection = Collection(project_id, COLLECTION)
    client.command(create_database(project_id))
    client.command(create_table(collection))
    bounds = months(count)
    late = bounds[-1] - max(1, count // LATE_SHARE)
    for month, (first, end) in enumerate(pairwise(bounds), 1):
        _write_parquet(client, f"{parquet}/{month:02d}.parquet", count, first, end)
        _insert(client, collection, count, first, min(end, late))
        client.command(f"OPTIMIZE TABLE {table(collection)} PARTITION ID '2025{month:02d}' FINAL")
    # From here on the parts stay what they are, so that every round reads the same.
    client.command(f"ALTER TABLE {table(collection)} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1")
    for part in range(LATE_PARTS):
        _insert(
            client,
            collection,
            count,
            bounds[-2],
            bounds[-1],
            f"number % {LATE_PARTS} = {part} AND (number >= {late} OR number % {REPEATED} = {part})",
        )


def months(count: int) -> list[int]:
    """The number of the first event of each month, and the number after the last event."""
    starts = [datetime(2025, month, 1, tzinfo=UTC).timestamp() * 1000 for month in range(1, MONTHS + 1)]
    return [-int(-(start - START) * count // SPAN) for start in starts] + [count]


def described(count: int) -> str:
    """Everything that decides what is loaded, as a text."""
    return f"{_events(count, 0, count)} {document(PROPERTIES)} {LATE_PARTS} {LATE_SHARE} {REPEATED}"


def document(properties: Iterable[Property]) -> str:
    """The SQL of the JSON text that an event's properties are, from columns named as in Parquet. Nothing is left out but nulls: the
    engine stores no value for them."""
    names, kinds = _object([(one.name.split("."), one) for one in properties])
    return f"toJSONString(CAST({names}, '{kinds}'))"


def _object(members: list[tuple[list[str], Property]]) -> tuple[str, str]:
    """A tuple of columns, and its type, with the tuples below it."""
    below: dict[str, list[tuple[list[str], Property]]] = {}
    for keys, one in members:
        below.setdefault(keys[0], []).append((keys[1:], one))
    columns, kinds = [], []
    for name, inner in below.items():
        if inner[0][0]:
            column, kind = _object(inner)
        else:
            ((_, one),) = inner
            column, kind = one.column, one.kind
        columns.append(column)
        kinds.append(f"{quoted(name)} {kind}")
    return f"tuple({', '.join(columns)})", f"Tuple({', '.join(kinds)})"


def _events(count: int, first: int, end: int, condition: str = "1") -> str:
    """The SQL of events with the columns that Parquet has, and `number`."""
    columns = [*_OWN, *(f"{one.sql} AS {one.column}" for one in PROPERTIES)]
    at = f"{START} + intDiv(toInt64(number) * {SPAN}, {count})"
    return (
        f"SELECT number, {', '.join(columns)} FROM"
        f" (SELECT number, {at} AS at FROM numbers({first}, {end - first}) WHERE {condition})"
    )


def _write_parquet(client: Client, path: str, count: int, first: int, end: int) -> None:
    columns = ["timestamp", "toString(id) AS id", *(one.column for one in PROPERTIES)]
    client.command(
        f"INSERT INTO FUNCTION file('{path}', 'Parquet') SELECT {', '.join(columns)} FROM ({_events(count, first, end)})"
    )


def _insert(client: Client, collection: Collection, count: int, first: int, end: int, condition: str = "1") -> None:
    """Store events as one part or few; nothing for none. Lists of what was bought are absent where nothing was."""
    if end <= first:
        return
    names = ", ".join(quoted(name) for name, _ in COLUMNS)
    text = f"replaceOne({document(PROPERTIES)}, ',\"items\":[]', '')"
    client.command(
        f"INSERT INTO {table(collection)} ({names}) SELECT id, timestamp, received_at, now64(3, 'UTC'), {text}::JSON"
        f" FROM ({_events(count, first, end, condition)})",
        settings=SETTINGS | {"min_insert_block_size_rows": 200_000, "min_insert_block_size_bytes": 0},
    )
