"""The statement that inserts an Avro container of event datums."""

from typing import Any

from headwater.query.parameters import Parameters
from headwater.rules import TIMESTAMP_MAX, TIMESTAMP_MIN
from sinks.covering import Applying, left_sql
from sinks.datums import Collection
from sinks.tables import COLUMNS, quoted, table

SETTINGS: dict[str, Any] = {
    # Strings stay what they are: without these, "2024-01-01T00:00:00Z" comes back as "2024-01-01 00:00:00".
    "input_format_try_infer_dates": 0,
    "input_format_try_infer_datetimes": 0,
    "input_format_json_read_bools_as_numbers": 0,  # [true, 1] would come back as [1, 1]
    "max_partitions_per_insert_block": 0,  # a batch of old events may well be of more than 100 months
    "async_insert": 0,  # an answer must mean that the rows are stored
}

_AVRO = "id String, timestamp Int64, received_at Int64, processed_at Int64, properties String"

# Beyond these years DateTime64 wraps into other centuries.
_BOUNDED = (
    f"if(timestamp BETWEEN {TIMESTAMP_MIN} AND {TIMESTAMP_MAX}, timestamp, "
    "throwIf(1, 'the timestamp is outside the years 1900 to 2299'))"
)
_EACH = (
    "toUUID(id)",
    *(f"fromUnixTimestamp64Milli({time}, 'UTC')" for time in (_BOUNDED, "received_at", "processed_at")),
    "properties::JSON",
)
_VALUES = ", ".join(_EACH)
_INPUT = f"input('{_AVRO}')"
_SELECT = " ".join(["SELECT", _VALUES, "FROM", _INPUT, "FORMAT Avro"])
_NAMED = ", ".join(f"{value} AS {name}" for (name, _), value in zip(COLUMNS, _EACH, strict=True))


def insert_statement(collection: Collection) -> str:
    """The INSERT into the collection's table that reads a container from the request's body."""
    return f"INSERT INTO {table(collection)} ({', '.join(quoted(name) for name, _ in COLUMNS)}) {_SELECT}"


def insert_left_statement(collection: Collection, deletions: Applying, parameters: Parameters) -> str:
    """The same INSERT, of what deletions that cover every row of the container leave."""
    rows = left_sql(f"SELECT {_NAMED} FROM {_INPUT}", deletions, parameters)  # noqa: S608 - made of constants
    return f"INSERT INTO {table(collection)} ({', '.join(quoted(name) for name, _ in COLUMNS)}) {rows} FORMAT Avro"


def trial_statement() -> str:
    """The same INSERT into no table: it fails where the rows are at fault, whatever a table's state is."""
    structure = ", ".join(f"{name} {kind}" for name, kind in COLUMNS).replace("'", "\\'")
    return f"INSERT INTO FUNCTION null('{structure}') {_SELECT}"
