"""`headwater up`, `status` and `down`: the local stack."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from headwater.cli.local import DataDir, data_dir_option, explained, local_settings
from headwater.local.state import AlreadyRunningError, State, is_running, last_state, read_state
from headwater.logs import configure_logs
from headwater.settings import Settings

LIVE_SECONDS = 2.0


def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when all is ready; it goes on in the background.")
    ] = False,
    data_dir: DataDir = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the HTTP services (default: 7000).")
    ] = None,
    kafka: Annotated[
        str | None, typer.Option(help="Bootstrap servers of a Kafka to use, in the place of our own.")
    ] = None,
    clickhouse: Annotated[
        str | None, typer.Option(help="URL of a ClickHouse to use, with user and password, in the place of our own.")
    ] = None,
    processors: Annotated[int, typer.Option(min=1, max=64, help="How many processors to run.")] = 1,
) -> None:
    """Start Kafka, ClickHouse, collector, API, processors and sink on this machine, and the project `demo`.

    In the foreground it runs until Ctrl-C. Ports in use are replaced by free ones.
    """
    settings = local_settings(data_dir, port=port)
    folder = settings.data_dir
    with explained():
        from headwater.control.model import ControlError
        from headwater.local.deployment import DeploymentError
        from headwater.local.kafka_files import fetch_kafka
        from headwater.local.maven import MavenError
        from headwater.local.ports import PortError
        from headwater.local.stack import StackOptions, run_stack, start_in_background, wait_until_started
        from headwater.local.supervisor import StackError

    given = settings.model_fields_set
    options = StackOptions(
        settings,
        kafka=kafka or (settings.kafka if "kafka" in given else None),
        clickhouse=clickhouse or (settings.clickhouse if "clickhouse" in given else None),
        processors=processors,
    )
    with explained(StackError, MavenError, DeploymentError, PortError, ControlError, OSError):
        try:
            if is_running(folder):
                raise AlreadyRunningError
            if detach:
                if options.kafka is None:
                    fetch_kafka()  # here, where its progress bar is seen
                with Console(stderr=True).status("Starting Kafka, ClickHouse and the services"):
                    state = start_in_background(options)
                _welcome(state, settings)
            else:
                log_format = "console" if sys.stderr.isatty() else "json"
                logging = settings.model_copy(update={"log_format": log_format, "worker_name": "supervisor"})
                configure_logs(logging, "supervisor")
                run_stack(options, lambda state: _welcome(state, settings))
        except AlreadyRunningError:  # found here, or by who was to run it
            typer.echo(f"A stack runs in {folder} already; nothing was changed.")
            if detach:
                with Console(stderr=True).status("Waiting until it is ready"):
                    wait_until_started(folder)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with the keys.")] = False, data_dir: DataDir = None
) -> None:
    """Say what runs, whether it is ready, and what arrives. Exit code 0 whenever a stack runs, ready or not."""
    folder = local_settings(data_dir).data_dir
    with explained(OSError):
        state = read_state(folder)
        running = is_running(folder)
    if state is None and running:
        if as_json:
            typer.echo(json.dumps(public(None), indent=2))
        else:
            typer.echo(f"A stack in {folder} is just starting or ending: ask again.")
        return
    if state is None:
        typer.echo(f"No stack runs in {folder}. Start one with `headwater up`.", err=True)
        left = last_state(folder)
        if left is not None and left.failure is not None:
            typer.echo(f"The last one did not start: {left.failure.splitlines()[0]}", err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps(public(state), indent=2))
    else:
        console = Console()
        console.print(_services_table(state))
        http = state.services.get("http")
        if http is not None and http.ready:  # else it may hang, and this is to answer all the same
            console.print(_live_table(state))


def down(data_dir: DataDir = None) -> None:
    """Stop the stack, and return when it is gone. What it stored stays."""
    folder = local_settings(data_dir).data_dir
    with explained():
        from headwater.local.stack import stop_stack
        from headwater.local.supervisor import StackError
    with explained(StackError, OSError), Console(stderr=True).status("Stopping"):
        stopped = stop_stack(folder)
    typer.echo(f"Stopped the stack in {folder}." if stopped else f"No stack runs in {folder}.")


def public(state: State | None) -> dict[str, Any]:
    """What `status --json` prints; None is of a stack of which nothing is known yet."""
    names = ("url", "project_id", "master_key", "write_key", "read_key", "kafka", "clickhouse", "database")
    if state is None:
        return {"ready": False} | dict.fromkeys(names) | {"services": {}}
    services = {
        name: {key: value for key, value in asdict(service).items() if key != "created"}
        for name, service in state.services.items()
    }
    return {"ready": state.ready} | {name: getattr(state, name) for name in names} | {"services": services}


def minute_counts(live: dict[str, Any], now: datetime) -> list[tuple[str, int, int, int, str]]:
    """Rows of (collection, events, received in the minute before, in this minute, last event's time) from `/live`."""
    this = now.replace(second=0, microsecond=0)
    rows = []
    for name, figures in live["collections"].items():
        counts = {datetime.fromisoformat(start): events for start, events in figures["received"]["minutes"]}
        before = counts.get(this - timedelta(minutes=1), 0)
        rows.append((name, figures["events"], before, counts.get(this, 0), figures["last_event_at"] or ""))
    return rows


def _welcome(state: State, settings: Settings) -> None:
    where = data_dir_option(settings.data_dir)
    typer.echo(
        f"Headwater is ready at {state.url}, project demo ({state.project_id}).\n"
        f"Keys and addresses: headwater status --json{where}\n"
        f"Stop it with: headwater down{where}"
    )


def _services_table(state: State) -> Table:
    title = f"Headwater at {state.url}: {'ready' if state.ready else 'not ready'}"
    table = Table("service", "process", "port", "ready", "started again", title=title)
    for name, service in state.services.items():
        ready = "[green]yes[/]" if service.ready else "[red]no[/]"
        table.add_row(name, str(service.pid), str(service.port), ready, str(service.restarts))
    return table


def _live_table(state: State) -> Table | str:
    """Events per minute from the API, if it answers in time."""
    try:
        answer = httpx.get(
            f"{state.url}/3.0/projects/{state.project_id}/live",
            headers={"Authorization": state.read_key or ""},
            timeout=LIVE_SECONDS,
            trust_env=False,
        )
        rows = minute_counts(answer.raise_for_status().json(), datetime.now(UTC))
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return f"Live figures are not to be had: {type(error).__name__}"
    if not rows:
        return "No event has arrived yet."
    table = Table("collection", "events", "minute before", "this minute", "last event")
    for name, events, before, this, last in rows:
        table.add_row(name, f"{events:,}", f"{before:,}", f"{this:,}", last)
    return table
