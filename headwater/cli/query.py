"""`headwater query`: one question on the command line, its answer as a table, JSON or CSV."""

import csv
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from headwater import exact_json
from headwater.cli.local import DataDir, local_settings
from headwater.cli.tables import as_table, flattened
from headwater.client.connection import connect
from headwater.client.errors import ConnectError
from headwater.query import QueryError, Result
from headwater.query.filters import OPERATORS
from headwater.settings import SettingsError

TESTS = [operator for operator in OPERATORS if operator != "or"]  # those of one property
_FILTER = re.compile(rf"\s*(?P<property>\S.*?)\s+(?P<operator>{'|'.join(TESTS)})\s+(?P<value>.+?)\s*", re.DOTALL)


def query(
    analysis: Annotated[
        str, typer.Argument(help="count, count_unique, sum, average, minimum, maximum, median, percentile and so on.")
    ],
    collection: Annotated[
        str | None, typer.Argument(help="The collection to ask about; a funnel's steps name their own.")
    ] = None,
    target_property: Annotated[str | None, typer.Option(help="The property that the analysis is of.")] = None,
    percentile: Annotated[float | None, typer.Option(help="Which percentile, above 0 up to 100.")] = None,
    timeframe: Annotated[
        str | None, typer.Option(help='Such as this_7_days, or JSON: {"start": "2026-01-01", "end": "2026-02-01"}.')
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Such as Europe/Berlin, or seconds east of UTC; for timeframe and interval.")
    ] = None,
    interval: Annotated[str | None, typer.Option(help="Such as daily or every_6_hours.")] = None,
    group_by: Annotated[list[str] | None, typer.Option(help="A property to group by; may be repeated.")] = None,
    order_by: Annotated[
        list[str] | None, typer.Option(help="A property or result, with :ASC or :DESC; may be repeated.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="How many groups; needs --order-by.")] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="'P op VALUE', the value as JSON, else a string; may be repeated."),
    ] = None,
    latest: Annotated[int | None, typer.Option(help="Of an extraction: only the most recent N events.")] = None,
    property_names: Annotated[
        list[str] | None,
        typer.Option("--property-name", help="Of an extraction: a property to return; may be repeated."),
    ] = None,
    definition: Annotated[
        str | None,
        typer.Option(
            help="More parameters as a JSON object, or a file with one, - for standard input: a funnel's steps, the analyses of a "
            "multi_analysis, the events of a retention. Options go before it."
        ),
    ] = None,
    output: Annotated[Literal["table", "json", "csv"], typer.Option("--format", help="How to print it.")] = "table",
    data_dir: DataDir = None,
) -> None:
    """Ask a collection a question.

    headwater query average flights --target-property arr_delay --group-by carrier --order-by result:DESC --limit 10

    headwater query funnel --definition funnel.json --timeframe this_7_days
    """
    try:
        given = {
            "target_property": target_property,
            "percentile": percentile,
            "timeframe": as_timeframe(timeframe),
            "timezone": timezone,
            "interval": interval,
            "group_by": group_by or None,
            "order_by": [as_order(text) for text in order_by or ()] or None,
            "limit": limit,
            "filters": [as_filter(text) for text in filters or ()] or None,
            "latest": latest,
            "property_names": property_names or None,
        }
        settings = local_settings(data_dir)
        with connect(settings=settings) as client:
            parameters = as_definition(definition) | {name: value for name, value in given.items() if value is not None}
            result = client.query(analysis, collection or parameters.pop("event_collection", None), **parameters)
    except (ConnectError, SettingsError, QueryError) as error:
        Console(stderr=True).print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise typer.Exit(1) from None
    if output == "json":
        sys.stdout.write(exact_json.dumps(result.value).decode() + "\n")
    elif output == "csv":
        write_csv(result)
    else:
        Console().print(as_table(result.rows()))


def as_timeframe(text: str | None) -> Any:
    """A timeframe's text: an object where it is JSON, else as it is. Raises typer.BadParameter."""
    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"--timeframe {text!r} is not JSON: {error}") from None


def as_definition(text: str | None) -> dict[str, Any]:
    """The parameters that --definition gives: none, an object as JSON, or what is in a file. Raises typer.BadParameter."""
    if text is None:
        return {}
    try:
        if not text.lstrip().startswith("{"):
            text = sys.stdin.read() if text == "-" else Path(text).read_text(encoding="utf-8")
        value = orjson.loads(text)
    except OSError as error:
        raise typer.BadParameter(f"--definition {text!r} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise typer.BadParameter(f"--definition is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise typer.BadParameter('--definition must be a JSON object with parameters, such as {"steps": [...]}.')
    return value


def as_order(text: str) -> dict[str, str]:
    """`P`, `P:ASC` or `P:DESC` as Keen has it. Only these two follow a colon that divides: names may hold colons."""
    name, colon, direction = text.rpartition(":")
    if colon and direction.upper() in ("ASC", "DESC"):
        return {"property_name": name, "direction": direction.upper()}
    return {"property_name": text, "direction": "ASC"}


def as_filter(text: str) -> dict[str, Any]:
    """`P op VALUE` as Keen has it: the value as JSON where it is JSON, else as a string. Raises typer.BadParameter."""
    match = _FILTER.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f"--filter {text!r} is not of the form 'P op VALUE', with one of {', '.join(TESTS)} as op."
        )
    try:
        value = orjson.loads(match["value"])
    except orjson.JSONDecodeError:
        value = match["value"]
    return {"property_name": match["property"], "operator": match["operator"], "property_value": value}


def write_csv(result: Result) -> None:
    """The rows on standard output, with a header; values as they are, lists as JSON."""
    flat = [flattened(row) for row in result.rows()]
    names = list(dict.fromkeys(name for row in flat for name in row))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in flat:
        values = (row.get(name) for name in names)
        writer.writerow(
            exact_json.dumps(value).decode() if isinstance(value, list | bool) else value for value in values
        )
