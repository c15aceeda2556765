"""`headwater dead-letter`: the records that were given up, why, and giving them to their service again."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headwater.cli.local import DataDir, explained, stack_settings
from headwater.cli.moments import MOMENT_HELP, moment

if TYPE_CHECKING:
    from headwater.dead_letters import Entry, Wanted
    from headwater.dead_letters.settling import Way

WIDTH = 200  # ids are to be copied, so no column is cut to the terminal's width

dead_letter = typer.Typer(help="Records that could not be processed or stored.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="Only this letter. May be repeated.")]
Reason = Annotated[str | None, typer.Option(help="Only those given up for this reason, such as refused_by_clickhouse.")]
Stage = Annotated[str | None, typer.Option(help="Only those of this service: collector, processor or sink.")]
Project = Annotated[str | None, typer.Option(help="Only those of this project, by its id.")]
Collection = Annotated[str | None, typer.Option(help="Only those of this collection.")]
Topic = Annotated[str | None, typer.Option(help="Only those whose record came from this topic.")]
Since = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help=f"Only those given up then or later: {MOMENT_HELP}.")
]
Until = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Only those given up before that.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


@dead_letter.command("list")
def list_dead_letters(
    ids: Ids = None,
    reason: Reason = None,
    stage: Stage = None,
    project: Project = None,
    collection: Collection = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were replayed or discarded, with what became of them.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List dead letters that are open, the newest first, each record once."""
    wanted = _wanted(ids, reason, stage, project, collection, topic, since, until)
    with _explained_letters():
        from headwater.dead_letters import read_ledger
        from headwater.dead_letters.ledger import newest_first

        ledger = read_ledger(stack_settings(data_dir))
    found = [entry for entry in ledger if wanted.has(entry.letter) and (everything or entry.is_open)]
    newest = newest_first(found)
    shown = [_summary(entry) for entry in newest[:limit]]
    if as_json:
        typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))
        return
    table = Table("id", "failed at", "stage", "reason", "collection", "state", "message", box=None)
    for letter in shown:
        place = letter["collection"] or letter["topic"]
        cells = [letter[name] for name in ("id", "failed_at", "stage", "reason")]
        cells += [place, _state(letter), letter["message"][:100]]
        table.add_row(*(escape(cell) for cell in cells))
    Console(width=WIDTH).print(table)
    typer.echo(f"{len(shown)} of {len(newest)} dead letters")


@dead_letter.command("show")
def show_dead_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `headwater dead-letter list` prints it.")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show a dead letter with the record as it was, and what became of it."""
    settings = stack_settings(data_dir)
    with _explained_letters():
        from headwater.dead_letters.reading import letter_of, read_ledger, read_records

        entry = next((one for one in read_ledger(settings) if one.letter["id"] == letter_id), None)
        if entry is None:
            typer.echo(f"There is no dead letter {letter_id}; `headwater dead-letter list --all` lists them.", err=True)
            raise typer.Exit(1)
        found = letter_of(next(read_records(settings, start=entry.at)))
    content = _summary(entry) | {
        "record_timestamp": _time(found["record_timestamp"]),
        "headers": {header["name"]: readable(header["value"]) for header in found["headers"]} or None,
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


@dead_letter.command("replay")
def replay_dead_letters(
    ids: Ids = None,
    reason: Reason = None,
    stage: Stage = None,
    project: Project = None,
    collection: Collection = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that are open, as where nothing else says which.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Send the records of dead letters again to the topics that they came from, each once.

    They are processed or stored as if for the first time: with the ids and times that they would have had, and counted once. One that fails again is
    an open letter again. Interrupted, or run twice, it sends none twice: what is replayed is not open any more.
    """
    wanted = _wanted(ids, reason, stage, project, collection, topic, since, until)
    _settle(wanted, "replayed", dry_run, as_json, data_dir)


@dead_letter.command("discard")
def discard_dead_letters(
    ids: Ids = None,
    reason: Reason = None,
    stage: Stage = None,
    project: Project = None,
    collection: Collection = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that are open; needed where nothing else says which.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Say of dead letters that nothing is to be done with them: they are listed and replayed no more.

    Kafka keeps them for HEADWATER_DEAD_LETTER_RETENTION_HOURS all the same; `list --all` and `show` have them.
    """
    wanted = _wanted(ids, reason, stage, project, collection, topic, since, until)
    if wanted.is_everything and not everything:
        typer.echo(
            "Say which: --id, --reason, --stage, --project, --collection, --topic, --from, --to, or --all.", err=True
        )
        raise typer.Exit(2)
    _settle(wanted, "discarded", dry_run, as_json, data_dir)


def _settle(wanted: "Wanted", way: "Way", dry_run: bool, as_json: bool, data_dir: Path | None) -> None:
    """Do it and say what was done. Exit code 1 where something stays open that was meant."""
    settings = stack_settings(data_dir)
    with _explained_letters():
        from headwater.dead_letters import Settler, read_ledger

        if dry_run:
            entries = read_ledger(settings, all_of_it=True).open(wanted)
            counted = Counter(entry.letter["topic"] for entry in entries)
            if as_json:
                _print_json(way, counted, Counter(), dry_run=True)
            else:
                typer.echo(f"{len(entries)} dead letters would be {way}." + _by_topic(counted))
            return
        with Settler(settings) as settler:
            ledger = settler.ledger()
            entries = ledger.open(wanted)
            if not entries and not as_json:
                before = sum(wanted.has(entry.letter) for entry in ledger)
                typer.echo(f"Nothing to do: none of {before} dead letters is open." if before else "Nothing to do.")
                return
            done = settler.settle(entries, way, _Progress(len(entries)))
    if as_json:
        _print_json(way, done.letters, done.missing, dry_run=False)
    else:
        typer.echo(f"{done.letters.total()} dead letters {way}." + _by_topic(done.letters))
    if done.missing:
        typer.echo("These topics are not there any more; their letters stay open:" + _by_topic(done.missing), err=True)
        raise typer.Exit(1)


@dataclass
class _Progress:
    """Says now and then how many of so many are done."""

    total: int
    done: int = 0

    def __call__(self, count: int) -> None:
        self.done += count
        if self.done < self.total:
            typer.echo(f"{self.done} of {self.total}", err=True)


def _print_json(way: "Way", topics: Counter[str], missing: Counter[str], *, dry_run: bool) -> None:
    done = {way: topics.total(), "topics": topics, "missing_topics": missing, "dry_run": dry_run}
    typer.echo(orjson.dumps(done, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))


def _by_topic(counts: Counter[str]) -> str:
    return "".join(f"\n{count:>8}  {topic}" for topic, count in sorted(counts.items()))


def _wanted(
    ids: Sequence[str] | None,
    reason: str | None,
    stage: str | None,
    project: str | None,
    collection: str | None,
    topic: str | None,
    since: str | None,
    until: str | None,
) -> "Wanted":
    with explained():
        from headwater.dead_letters import Wanted
    return Wanted(
        None if ids is None else frozenset(ids),
        reason,
        stage,
        project,
        collection,
        topic,
        moment(since, "--from"),
        moment(until, "--to"),
    )


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
def _explained_letters() -> Iterator[None]:
    """Turn what goes wrong with the dead letters into one line."""
    with explained():
        from headwater.codec import CodecError
        from headwater.dead_letters import DeadLettersError
    with explained(DeadLettersError, CodecError):
        yield


def _summary(entry: "Entry") -> dict[str, Any]:
    """A letter without its record, with what became of it."""
    letter, outcome = entry.letter, entry.outcome
    kept = {name: value for name, value in letter.items() if name != "record_timestamp"}
    return kept | {
        "failed_at": _time(letter["failed_at"]),
        "outcome": None if outcome is None else outcome["outcome"],
        "settled_at": None if outcome is None else _time(outcome["settled_at"]),
    }


def _state(letter: dict[str, Any]) -> str:
    if letter["outcome"] is not None:
        return f"{letter['outcome']} {letter['settled_at']}"
    return "open" if letter["attempt"] == 1 else f"open, failed {letter['attempt']} times"


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
