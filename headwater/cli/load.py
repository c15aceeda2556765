"""`headwater load`: files of events into a collection."""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from headwater.cli.local import DataDir, local_settings
from headwater.client.errors import ConnectError
from headwater.client.producing import http_send
from headwater.client.target import find_target
from headwater.load.checkpoint import Checkpoint, checkpoint_path, read_checkpoint
from headwater.load.delivery import Delivery
from headwater.load.loader import Loader, LoadError
from headwater.load.mapping import Columns
from headwater.load.pipe import Pipe, standard_input
from headwater.load.rows import read_blocks
from headwater.load.sending import Senders
from headwater.load.source import FormatError, Source, files_in
from headwater.rules import RuleError, check_collection_name
from headwater.settings import Settings, SettingsError

INTERRUPTED = 130
SENDERS = 8  # so many that the collector has a request to judge while Kafka acknowledges others


def load(
    file: Annotated[
        str,
        typer.Argument(
            help="NDJSON or CSV, plain or gzip, or Parquet; a folder, for all such files in it; - for standard input."
        ),
    ],
    collection: Annotated[str, typer.Option(help="The collection that the events go to.")],
    timestamp_field: Annotated[
        str | None,
        typer.Option(help="The field with an event's time: ISO 8601, or seconds or milliseconds since 1970."),
    ] = None,
    id_field: Annotated[
        str | None, typer.Option(help="The field with an event's id; events with one id and time are one event.")
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="COLUMN=PROPERTY",
            help="A column under another name; with dots an object (user.id); without a name it is left out. May be repeated.",
        ),
    ] = None,
    senders: Annotated[int, typer.Option(min=1, max=32, help="Requests in flight at once.")] = SENDERS,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="The events are history: let live events go before them.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Load a file of events, or a folder of files. Interrupted, it goes on where it was when run again; run twice, it doubles nothing.

    CSV has a header and commas. A column whose cells are all numbers (without leading zeros) is numbers, all true or false
    booleans, anything else text; empty cells are left out. Ends with exit code 1 when lines were rejected, each of which
    is reported with its number.

    NDJSON from standard input is sent while it comes, from its first MiB on. What was piped and was interrupted, or has more at its end, is piped
    again from its start: it is the same events, once in every answer, though live figures count them again. CSV from
    standard input is first kept in a temporary file, since the types of its columns take every row. Of Parquet, a null is no
    property and a time without a zone is UTC. In a folder, the files that end in .ndjson, .jsonl, .json, .csv or .parquet, or in one of these and .gz,
    are loaded one after the other; one that cannot be read is said, and the others are loaded.

    With --backfill the events are visible as soon as there is capacity for them, which may be hours for years of history; without it
    they are processed in turn with live events, which then wait for them.

    --timestamp-field and --id-field name columns as the file does.
    """
    console = Console(stderr=True)
    maps = tuple(map_ or ())
    try:
        check_collection_name(collection)
        if "" in (id_field, timestamp_field):
            raise FormatError("--id-field and --timestamp-field take the name of a field, not an empty text")
        plan = _Plan(collection, timestamp_field, id_field, maps, Columns(maps), senders, backfill)
        settings = local_settings(data_dir)
        folder = Path(file) if Path(file).is_dir() else None
        loaded = [_loaded(str(each), plan, settings, console) for each in (files_in(folder) if folder else [file])]
    except (ConnectError, SettingsError, FormatError, LoadError, RuleError) as error:
        console.print(f"[red]{escape(f'{file}: {error}')}[/]", soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        again = (
            "The same input, piped again, is the same events." if file == "-" else "The same command goes on from here."
        )
        console.print(f"Stopped. {again}")
        raise typer.Exit(INTERRUPTED) from None
    if not all(loaded):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Plan:
    """What is to be made of a file."""

    collection: str
    timestamp_field: str | None
    id_field: str | None
    maps: tuple[str, ...]
    columns: Columns
    senders: int
    backfill: bool

    @property
    def ways(self) -> tuple[str, ...]:
        """What makes other events of the same file."""
        return (self.collection, self.timestamp_field or "", self.id_field or "", *self.maps)


def _loaded(file: str, plan: _Plan, settings: Settings, console: Console) -> bool:
    """Load one file; True when all of it was loaded. Says what is wrong with it, and raises what is wrong with all others too."""
    try:
        with source_of(file) as source:
            return _load(source, plan, settings, console)
    except (FormatError, OSError, EOFError) as error:
        console.print(f"[red]{escape(f'{file}: {error}')}[/]", soft_wrap=True)
        return False


def _load(source: Source | Pipe, plan: _Plan, settings: Settings, console: Console) -> bool:
    """Load the file; True when no line of it was rejected, now or before an interruption."""
    target = find_target(settings)
    path = checkpoint_path(settings.data_dir, source.identity, str(target.project_id), *plan.ways)
    checkpoint = read_checkpoint(path, datetime.now(UTC).isoformat(timespec="milliseconds"))
    if isinstance(source, Pipe):
        checkpoint = Checkpoint(checkpoint.started_at)  # how far it is the same as the last time, nobody can know
    elif checkpoint.finished and not checkpoint.rejected:
        console.print(f"Loaded before: {checkpoint.accepted:,} events are in {plan.collection}. Nothing to do.")
        return True
    elif checkpoint.finished:
        checkpoint = Checkpoint(checkpoint.started_at)
    elif checkpoint.lines:
        console.print(f"Going on after line {checkpoint.lines:,}.")
    bars = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*bars, console=console) as progress:
        task = progress.add_task(source.path.name if isinstance(source, Source) else "-", total=source.size)
        loader = Loader(
            plan.collection,
            checkpoint,
            path,
            timestamp_field=plan.timestamp_field,
            id_field=plan.id_field,
            columns=plan.columns,
            on_rejected=lambda line, problem: console.print(f"line {line}: {problem}", markup=False, soft_wrap=True),
            on_progress=lambda: progress.update(task, completed=source.position),
        )
        delivery = Delivery(
            http_send(target, plan.senders, backfill=plan.backfill),
            plan.collection,
            timestamp=checkpoint.started_at,
            timestamp_field=plan.timestamp_field,
            id_field=plan.id_field,
        )
        senders = Senders(delivery, plan.senders)
        try:
            loader.run(senders, read_blocks(source, plan.columns.has))
        finally:
            senders.close()  # what is unanswered is sent again by the next attempt, as the same events
        size = source.size or source.position
        progress.update(task, completed=size, total=size)
    console.print(f"{checkpoint.accepted:,} events accepted, {checkpoint.rejected:,} lines rejected.")
    return not checkpoint.rejected


def source_of(file: str) -> AbstractContextManager[Source | Pipe]:
    """The file to load, or standard input."""
    return standard_input(sys.stdin.buffer) if file == "-" else nullcontext(Source(Path(file)))
