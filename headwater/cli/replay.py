"""`headwater replay`: raw events through the processors once more."""

import time
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from headwater.cli.local import DataDir, explained, stack_settings
from headwater.cli.moments import MOMENT_HELP, moment
from headwater.logs import configure_logs

INTERRUPTED = 130
CONTROL_SECONDS = 10.0


def replay(
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help=f"What was collected then or later: {MOMENT_HELP}.")
    ],
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="What was collected before that (default: now).")
    ] = None,
    collection: Annotated[str | None, typer.Option(help="Only this collection.")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project, by its id.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many events it would be, and do nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Process events once more that were collected between two times, as after an add-on was mended.

    Kafka has them for HEADWATER_RAW_RETENTION_HOURS. They are enriched anew and replace their rows, with the same id and timestamp; nothing is counted
    again, in no figure, and deleted events stay deleted. Processors do it with what capacity live events leave. Run twice, or again after an
    interruption, it does no harm.

    Left out is what was no event before: what is or was among the dead letters (`headwater dead-letter replay` is for those), and what was dropped as sent again.
    """
    settings = stack_settings(data_dir)
    configure_logs(settings.model_copy(update={"log_format": "console", "log_level": "error"}), "cli")
    first, end = moment(since, "--from"), moment(until, "--to")
    assert first is not None  # it was given
    console = Console(stderr=True)
    with explained():
        from headwater.codec import CodecError
        from headwater.control import ControlError, ControlPlane
        from headwater.dead_letters import DeadLettersError
        from processors.replay import Replay, ReplayError, Span
    plane = ControlPlane(settings)
    span = Span(first, time.time_ns() // 1_000_000 if end is None else end, project, collection)
    work = Replay(settings, plane, span, dry_run=dry_run)
    bars = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with (
            explained(ControlError, DeadLettersError, CodecError, ReplayError),
            Progress(*bars, console=console) as shown,
        ):
            plane.start(CONTROL_SECONDS)
            task = shown.add_task("raw records read", total=None)
            report = work.run(lambda read, of: shown.update(task, completed=read, total=of))
    except KeyboardInterrupt:
        console.print("Stopped. The same command, run again, does all of it; what is done twice does no harm.")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        plane.stop()
    if as_json:
        told = {"events": report.copied, "left_out": report.left_out, "dry_run": dry_run}
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
        return
    typer.echo(f"{report.copied} events {'would' if dry_run else 'will'} be processed again.")
    if report.left_out:
        typer.echo("Left out: " + ", ".join(f"{count} {why}" for why, count in sorted(report.left_out.items())) + ".")
