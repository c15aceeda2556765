"""`headwater load`: a file of events into a collection."""

import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from headwater.cli.local import DataDir, local_settings
from headwater.client.connection import connect, find_target
from headwater.client.errors import ConnectError
from headwater.load.checkpoint import Checkpoint, checkpoint_path, read_checkpoint
from headwater.load.loader import Loader, LoadError
from headwater.load.pipe import Pipe, standard_input
from headwater.load.rows import read_rows
from headwater.load.source import FormatError, Source
from headwater.rules import RuleError, check_collection_name
from headwater.settings import SettingsError

INTERRUPTED = 130


def load(
    file: Annotated[str, typer.Argument(help="NDJSON or CSV, plain or gzip; - for standard input.")],
    collection: Annotated[str, typer.Option(help="The collection that the events go to.")],
    timestamp_field: Annotated[
        str | None,
        typer.Option(help="The field with an event's time: ISO 8601, or seconds or milliseconds since 1970."),
    ] = None,
    id_field: Annotated[
        str | None, typer.Option(help="The field with an event's id; events with one id and time are one event.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Load a file of events. Interrupted, it goes on where it was when run again; run twice, it doubles nothing.

    CSV has a header and commas. A column whose cells are all numbers (without leading zeros) is numbers, all true or false
    booleans, anything else text; empty cells are left out. Ends with exit code 1 when lines were rejected, each of which
    is reported with its number.

    NDJSON from standard input is sent while it comes, from its first MiB on. What was piped and was interrupted, or has more at its end, is piped
    again from its start: it is the same events, once in every answer, though live figures count them again. CSV from
    standard input is first kept in a temporary file, since the types of its columns take every row.
    """
    console = Console(stderr=True)
    try:
        with source_of(file) as source:
            if not _load(source, collection, timestamp_field, id_field, data_dir, console):
                raise typer.Exit(1)
    except (ConnectError, SettingsError, FormatError, LoadError, RuleError, OSError, EOFError) as error:
        console.print(f"[red]{file}: {escape(str(error))}[/]", soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        again = (
            "The same input, piped again, is the same events." if file == "-" else "The same command goes on from here."
        )
        console.print(f"Stopped. {again}")
        raise typer.Exit(INTERRUPTED) from None


def _load(
    source: Source | Pipe,
    collection: str,
    timestamp_field: str | None,
    id_field: str | None,
    data_dir: Path | None,
    console: Console,
) -> bool:
    """Load the file; True when no line of it was rejected, now or before an interruption."""
    check_collection_name(collection)
    settings = local_settings(data_dir)
    target = find_target(settings)
    path = checkpoint_path(
        settings.data_dir, source.identity, str(target.project_id), collection, timestamp_field or "", id_field or ""
    )
    checkpoint = read_checkpoint(path, datetime.now(UTC).isoformat(timespec="milliseconds"))
    if isinstance(source, Pipe):
        checkpoint = Checkpoint(checkpoint.started_at)  # how far it is the same as the last time, nobody can know
    elif checkpoint.finished and not checkpoint.rejected:
        console.print(f"Loaded before: {checkpoint.accepted:,} events are in {collection}. Nothing to do.")
        return True
    elif checkpoint.finished:
        checkpoint = Checkpoint(checkpoint.started_at)
    elif checkpoint.lines:
        console.print(f"Going on after line {checkpoint.lines:,}.")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(collection, total=source.size)
        loader = Loader(
            collection,
            checkpoint,
            path,
            timestamp_field=timestamp_field,
            id_field=id_field,
            on_rejected=lambda line, problem: console.print(f"line {line}: {problem}", markup=False, soft_wrap=True),
            on_progress=lambda: progress.update(task, completed=source.position),
        )
        client = connect(settings=settings, on_error=loader.failed)
        try:
            loader.run(client, read_rows(source))
        except BaseException:
            client.close(0)  # what is unanswered is sent again by the next attempt, as the same events
            raise
        client.close()
        size = source.size or source.position
        progress.update(task, completed=size, total=size)
    console.print(f"{checkpoint.accepted:,} events accepted, {checkpoint.rejected:,} lines rejected.")
    return not checkpoint.rejected


def source_of(file: str) -> AbstractContextManager[Source | Pipe]:
    """The file to load, or standard input."""
    return standard_input(sys.stdin.buffer) if file == "-" else nullcontext(Source(Path(file)))
