"""`headwater load`: files of events into a collection."""

import itertools
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
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
from headwater.load.delimited import Dialect
from headwater.load.delivery import Delivery
from headwater.load.loader import Loader, LoadError, check_form
from headwater.load.mapping import Columns
from headwater.load.pipe import Pipe, standard_input
from headwater.load.rows import read_blocks
from headwater.load.sending import Senders
from headwater.load.source import FormatError, Partition, Source, files_in, partitions
from headwater.rules import RuleError, check_collection_name
from headwater.settings import Settings, SettingsError

INTERRUPTED = 130
REJECTED_NAMED = 1_000  # lines of a file
OTHERS_NAMED = 5
SENDERS = 8  # so many that the collector has a request to judge while Kafka acknowledges others


def load(
    file: Annotated[
        str,
        typer.Argument(
            help="NDJSON, a JSON array or CSV, plain or gzip, or Parquet; a folder, for all such files in it; - for standard input."
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
    timestamp_format: Annotated[
        str | None,
        typer.Option(
            help="The form of that time where it is another, by the letters of Python's strptime, such as '%m/%d/%Y %H:%M'; without a zone it is UTC."
        ),
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="COLUMN=PROPERTY",
            help="A column under another name; with dots an object (user.id); without a name it is left out. May be repeated.",
        ),
    ] = None,
    fix_names: Annotated[
        bool,
        typer.Option(
            "--fix-names",
            help="Names that no property may have, at every level: _ for dots and for a $ in front, as in Mixpanel's, PostHog's and MongoDB's exports.",
        ),
    ] = False,
    delimiter: Annotated[str, typer.Option(help="Of CSV: what stands between columns, such as ';' or 'tab'.")] = ",",
    encoding: Annotated[str, typer.Option(help="Of CSV: such as latin-1, cp1252 or utf-16.")] = "utf-8",
    header: Annotated[
        str | None,
        typer.Option(help="Of CSV that has none: the columns' names, with commas between.", metavar="NAME,..."),
    ] = None,
    null: Annotated[
        list[str] | None,
        typer.Option(help="Of CSV: a cell without a value, such as NA, beside empty ones. May be repeated."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="Of CSV: a column that is text, though it looks like numbers. May be repeated.", metavar="COLUMN"
        ),
    ] = None,
    senders: Annotated[int, typer.Option(min=1, max=32, help="Requests in flight at once.")] = SENDERS,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="The events are history: let live events go before them.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Load a file of events, or a folder of files. Interrupted, it goes on where it was when run again; run twice, it doubles nothing.

    CSV has a header and commas, unless options say otherwise. A column whose cells are all numbers (without leading zeros) is numbers, all true or false
    booleans, anything else text; empty cells are left out. Where a few texts make text of a column that has numbers in its first thousand rows, it is said. Ends with exit code 1 when lines were rejected;
    the first thousand are reported with their numbers. A column named user.id, in CSV or Parquet, is id within the object user, as in extractions.

    A JSON array is one of objects, or what Keen's API answers to an extraction (its `result`); its lines, where they are counted, are its elements.

    NDJSON from standard input is sent while it comes, from its first MiB on. What was piped and was interrupted, or has more at its end, is piped
    again from its start: it is the same events, once in every answer, though live figures count them again. CSV from
    standard input is first kept in a temporary file, since the types of its columns take every row. Of Parquet, a null is no
    property and a time without a zone is UTC. In a folder, the files that end in .ndjson, .jsonl, .json, .csv or .parquet, or in one of these and .gz,
    are loaded one after the other; one that cannot be read, or lacks a column that an option names, is said, and the others are loaded. Within it, a folder's name such as year=2026 is a property of all that is in that.

    A file that was changed is another one: all its rows are events anew, unless --id-field and --timestamp-field say which they are.

    With --backfill the events are visible as soon as there is capacity for them, which may be hours for years of history; without it
    they are processed in turn with live events, which then wait for them.

    --timestamp-field and --id-field name columns as the file does, with dots what is within objects. Where the file's own events say what they are (keen.id, keen.timestamp), as
    extractions do, that holds.
    """
    console = Console(stderr=True)
    try:
        check_collection_name(collection)
        if "" in (id_field, timestamp_field):
            raise FormatError("--id-field and --timestamp-field take the name of a field, not an empty text")
        check_form(timestamp_format, timestamp_field)
        names = () if header is None else tuple(name.strip() for name in header.split(","))
        texts = {*(text or ()), *((timestamp_field,) if timestamp_format and timestamp_field else ())}
        dialect = Dialect(
            "\t" if delimiter == "tab" else delimiter, encoding, names, frozenset(null or ()), frozenset(texts)
        )
        plan = _Plan(
            collection,
            timestamp_field,
            timestamp_format,
            id_field,
            Columns(map_ or (), fix_names=fix_names),
            dialect,
            senders,
            backfill,
        )
        settings = local_settings(data_dir)
        loaded = [_loaded(make, name, plan, settings, console) for name, make in _sources(file, console)]
        for column in plan.columns.unseen:
            console.print(f"--map: no row that was read has {column!r}.", markup=False, soft_wrap=True)
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
    timestamp_format: str | None
    id_field: str | None
    columns: Columns
    dialect: Dialect
    senders: int
    backfill: bool

    def ways(self, *, delimited: bool) -> tuple[str, ...]:
        """What makes other events of the same file, which is delimited text or not."""
        ways = [self.collection, self.timestamp_field or "", self.id_field or "", *self.columns.described]
        if self.timestamp_format is not None:
            ways.append(f"{self.timestamp_field}: {self.timestamp_format}")
        if delimited and (described := self.dialect.described()) != Dialect().described():
            ways.append(described)
        return tuple(ways)


MakeSource = Callable[[], AbstractContextManager[Source | Pipe]]


def _sources(file: str, console: Console) -> Iterator[tuple[str, MakeSource]]:
    """What is to be loaded, by name: standard input, a file, or the files of a folder. Says which of these are not."""
    if file == "-":
        yield file, partial(standard_input, sys.stdin.buffer)
    elif not Path(file).is_dir():
        yield file, partial(_opened, Path(file))
    else:
        folder = Path(file)
        found, others = files_in(folder)
        if others:
            names = [*(path.name for path in others[:OTHERS_NAMED]), *(["..."] if others[OTHERS_NAMED:] else [])]
            some = ", ".join(names)
            console.print(f"Not loaded, by their names: {some}", markup=False, soft_wrap=True)
        for path, partition in zip(found, partitions(found, folder), strict=True):
            yield str(path), partial(_opened, path, partition)


def _opened(path: Path, partition: Partition | None = None) -> AbstractContextManager[Source]:
    return nullcontext(Source(path, partition))


def _loaded(make: MakeSource, file: str, plan: _Plan, settings: Settings, console: Console) -> bool:
    """Load one file; True when all of it was loaded. Says what is wrong with it, and raises what is wrong with all others too."""
    try:
        with make() as source:
            return _load(source, plan, settings, console)
    except (FormatError, OSError, EOFError, zlib.error) as error:
        console.print(f"[red]{escape(f'{file}: {error}')}[/]", soft_wrap=True)
        return False


def _load(source: Source | Pipe, plan: _Plan, settings: Settings, console: Console) -> bool:
    """Load the file; True when no line of it was rejected, now or before an interruption."""
    target = find_target(settings)
    delimited = isinstance(source, Source) and source.format() == "csv"
    path = checkpoint_path(settings.data_dir, source.identity, str(target.project_id), *plan.ways(delimited=delimited))
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
    named = itertools.count(1)

    def rejected(line: int, problem: str) -> None:
        number = next(named)
        if number <= REJECTED_NAMED:
            console.print(f"line {line}: {problem}", markup=False, soft_wrap=True)
        elif number == REJECTED_NAMED + 1:
            console.print("and more, which are only counted")

    bars = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*bars, console=console) as progress:
        task = progress.add_task(source.path.name if isinstance(source, Source) else "-", total=source.size)
        loader = Loader(
            plan.collection,
            checkpoint,
            path,
            timestamp_field=plan.timestamp_field,
            timestamp_format=plan.timestamp_format,
            id_field=plan.id_field,
            columns=plan.columns,
            partition=source.partition,
            on_rejected=rejected,
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
            needed = [name for name in (plan.timestamp_field, plan.id_field) if name is not None]
            note = partial(console.print, markup=False, soft_wrap=True)
            blocks = read_blocks(source, plan.columns, dialect=plan.dialect, needed=needed, note=note)
            loader.run(senders, blocks)
        finally:
            senders.close()  # what is unanswered is sent again by the next attempt, as the same events
        size = source.size or source.position
        progress.update(task, completed=size, total=size)
    console.print(f"{checkpoint.accepted:,} events accepted, {checkpoint.rejected:,} lines rejected.")
    return not checkpoint.rejected
