"""`headwater trace`: where one event is."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from headwater.cli.control import AsJson, ProjectOption, project_of
from headwater.cli.local import DataDir, explained, stack_settings
from headwater.cli.moments import MOMENT_HELP, moment
from headwater.cli.traced import lines
from headwater.logs import configure_logs

if TYPE_CHECKING:  # the light client install has no Kafka; the command says so when it runs
    from headwater.trace import Found

UNKNOWN, NOWHERE = 1, 3


def trace(
    event: Annotated[
        str,
        typer.Argument(
            metavar="EVENT_ID",
            help="Its id, or what its client calls it: keen.uniqueness_token, Segment's messageId, a webhook's delivery.",
        ),
    ],
    project_id: ProjectOption = None,
    collection: Annotated[str | None, typer.Option(help="Look only for an event of this collection: quicker.")] = None,
    since: Annotated[
        str | None, typer.Option(help=f"Read topics from here on: {MOMENT_HELP} (default: all that Kafka keeps).")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Say where an event is: accepted, processed, in its collection's topic, stored, visible; or why it is not.

    Exit code 0 where it is visible, on its way, or its absence is explained (deleted, dropped as a repetition, a dead letter); 3 where
    it is nowhere, or gone without a reason; 1 where Kafka or ClickHouse did not answer, so that nothing can be said.
    """
    with explained():
        from confluent_kafka import KafkaException

        from headwater.trace import trace as search
        from headwater.trace import verdict
    settings = stack_settings(data_dir)
    configure_logs(settings.model_copy(update={"log_format": "console", "log_level": "error"}), "cli")
    begin = moment(since, "--since")
    project = project_of(project_id, data_dir)
    with _progress() as progress:
        try:
            found = search(settings, project, event, collection=collection, since=begin, progress=progress)
        except KafkaException as error:
            typer.echo(f"Kafka at {settings.kafka} does not answer: {error.args[0].str()}", err=True)
            raise typer.Exit(UNKNOWN) from None
    where = verdict(found)
    if as_json:
        typer.echo(orjson.dumps({"verdict": where} | as_document(found), option=orjson.OPT_INDENT_2))
    else:
        for line in lines(found, where, time.time_ns() // 1_000_000):
            typer.echo(line)
    if where in ("missing", "nowhere"):
        raise typer.Exit(NOWHERE)
    if where == "unknown":
        raise typer.Exit(UNKNOWN)


def as_document(found: "Found") -> dict[str, Any]:
    """What was found as JSON has it: times in milliseconds since 1970 UTC, without the event's own content."""

    def place(record: Any) -> dict[str, Any]:
        members = {name: value for name, value in record._asdict().items() if name != "properties"}
        first = members.get("copy_of")
        return members if first is None else {**members, "copy_of": first._asdict()}

    def deletion(one: Any) -> dict[str, Any]:  # without what it looks for, which is sealed where it is kept
        return {name: getattr(one, name) for name in ("id", "collection", "what", "deleted_at", "done_at")}

    letters = [{**one, "outcome": found.outcomes.get(one["id"])} for one in found.letters]
    repeats = found.repetitions()
    return {
        "project_id": found.project_id,
        "id": found.id,
        "waiting": [place(one) for one in found.waiting],
        "raw": [
            place(raw)
            | {
                "processed": found.processed(raw),
                "records_before": found.before(raw),
                "dropped": raw in repeats,
                "repeats": place(first) if (first := repeats.get(raw)) else None,
            }
            for raw in found.raw
        ],
        "topic": [place(put) | {"stored": found.stored(put), "records_before": found.ahead(put)} for put in found.put],
        "dead_letters": letters,
        "rows": [place(row) for row in found.rows],
        "deletions": [deletion(one) for one in found.deletions],
        "seen_at": found.seen_at,
        "searched": [place(one) for one in found.searched],
        "not_answered": found.failed,
    }


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar on stderr for what takes long; where that is no terminal, nothing."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("searching", total=None)
        yield lambda what, read, total: bar.update(task, description=what, completed=read, total=total)
