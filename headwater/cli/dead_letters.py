"""`headwater dead-letter`: the records that were given up, and why."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headwater.cli.local import DataDir, explained, stack_settings

WIDTH = 200  # ids are to be copied, so no column is cut to the terminal's width

dead_letter = typer.Typer(help="Records that could not be processed or stored.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]


@dead_letter.command("list")
def list_dead_letters(
    reason: Annotated[
        str | None, typer.Option(help="Only those given up for this reason, such as refused_by_clickhouse.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List dead letters, the newest first, each record once."""
    found: dict[str, dict[str, Any]] = {}
    with _letters(data_dir) as letters:
        for letter in letters:
            if reason is None or letter["reason"] == reason:
                found.pop(letter["id"], None)
                found[letter["id"]] = _summary(letter)
    newest = sorted(found.values(), key=lambda letter: letter["failed_at"], reverse=True)
    shown = newest[:limit]
    if as_json:
        typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))
        return
    table = Table("id", "failed at", "stage", "reason", "collection", "message", box=None)
    for letter in shown:
        place = letter["collection"] or letter["topic"]
        cells = (letter["id"], letter["failed_at"], letter["stage"], letter["reason"], place, letter["message"][:100])
        table.add_row(*(escape(cell) for cell in cells))
    Console(width=WIDTH).print(table)
    typer.echo(f"{len(shown)} of {len(newest)} dead letters")


@dead_letter.command("show")
def show_dead_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `headwater dead-letter list` prints it.")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show a dead letter with the record as it was."""
    found = None
    with _letters(data_dir) as letters:
        for letter in letters:
            if letter["id"] == letter_id:
                found = letter
    if found is None:
        typer.echo(f"There is no dead letter {letter_id}; `headwater dead-letter list` lists them.", err=True)
        raise typer.Exit(1)
    content = _summary(found) | {
        "record_timestamp": _time(found["record_timestamp"]),
        "key": readable(found["key"]),
        "payload": readable(found["payload"]),
        "event": _event(found["payload"]),
    }
    if as_json:
        typer.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2))
        return
    for name, value in content.items():
        if value is not None:
            text = value if isinstance(value, str | int) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
            typer.echo(f"{name + ':':<17} {text}")


def readable(data: bytes | None) -> str | None:
    """Bytes as text where they are printable UTF-8, else in hexadecimal after `hex:`."""
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"hex:{data.hex()}"
    return text if all(one.isprintable() or one in "\t\n\r" for one in text) else f"hex:{data.hex()}"


@contextmanager
def _letters(data_dir: Path | None) -> Iterator[Iterator[dict[str, Any]]]:
    with explained():
        from headwater.codec import CodecError
        from headwater.dead_letters import DeadLettersError, read_dead_letters

    settings = stack_settings(data_dir)
    with explained(DeadLettersError, CodecError):
        yield read_dead_letters(settings)


def _summary(letter: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in letter.items() if name not in ("record_timestamp", "key", "payload")}
    return kept | {"failed_at": _time(letter["failed_at"])}


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _event(payload: bytes | None) -> dict[str, Any] | None:
    """The event that the payload holds, where it is a record of ours that can be read."""
    from headwater.codec import CodecError, codec

    for name in ("raw_event", "event"):
        try:
            return codec(name).decode(payload or b"")
        except CodecError:
            continue
    return None
