"""`headwater doctor`: whether the deployment is healthy, and what to do where it is not."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from headwater.cli.control import AsJson, ProjectOption
from headwater.cli.local import DataDir, explained, local_settings, stack_settings
from headwater.local.state import State, read_state
from headwater.logs import configure_logs
from headwater.settings import Settings

if TYPE_CHECKING:  # the light client install has no Kafka; the command says so when it runs
    from headwater.doctor import Target

SIGNS = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "failed": ("FAILED", "bold red"),
    "skipped": ("skipped", "dim"),
}
CONTROL_SECONDS = 5.0


def doctor(
    test_event: Annotated[
        bool,
        typer.Option(
            help="Send an event into the collection headwater_doctor, where it stays, and follow it to a query; and ask for Kafka's clock by a record in <prefix>.doctor."
        ),
    ] = True,
    wait: Annotated[float, typer.Option(min=1, help="How many seconds the test event may take.")] = 20.0,
    service: Annotated[
        list[str] | None,
        typer.Option(
            help="A service to ask as well, NAME=URL, such as sink=http://10.0.0.7:17001 (the URL of /readyz without that); may be repeated. Those of the local stack are known."
        ),
    ] = None,
    project_id: ProjectOption = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Check the whole deployment, and say what to do about what is wrong.

    Kafka, ClickHouse and the services; topics and their settings, schemas, lags, consumer groups, what retention took, dead letters,
    disks, clocks, versions, and a test event with its time per hop. Exit code 0 where nothing is wrong (there may be warnings), else 1.
    """
    with explained():
        from headwater.doctor import Deployment, examine, healthy, remedies, service_urls
        from headwater.local.ports import reachable
    settings, state = stack_of(data_dir)
    configure_logs(settings.model_copy(update={"log_format": "console", "log_level": "error"}), "cli")
    given = [named(text) for text in service or ()]
    host = reachable(local_settings(data_dir).host)
    with Console(stderr=True).status("Looking at the deployment") if not as_json else nullcontext():
        target = target_of(settings, state, project_id) if test_event else None
        services = service_urls(state, settings, given, host)
        checks = examine(Deployment(settings, services, state, target, wait if test_event else None, own_kafka(state)))
    fine = healthy(checks)
    todo = remedies(checks)
    if as_json:
        document = {"healthy": fine, "checks": [asdict(check) for check in checks], "to_do": todo}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for check in checks:
            sign, style = SIGNS[check.outcome]
            console.print(f"[{style}]{sign:<8}[/] {escape(check.name)}: {escape(check.said)}")
        console.print("\nNothing is wrong." if fine else "\nSomething is wrong.", style="green" if fine else "red")
        for number, line in enumerate(todo, 1):
            console.print(f"{number}. {escape(line)}")
    if not fine:
        raise typer.Exit(1)


def stack_of(data_dir: Path | None) -> tuple[Settings, State | None]:
    """The settings of the local stack that runs in the data directory, with its state; else those of the environment."""
    settings = stack_settings(data_dir)
    return settings, read_state(settings.data_dir)


def own_kafka(state: State | None) -> str | None:
    """The version of the local stack's own Kafka; None where it has none."""
    if state is None or "kafka" not in state.services:
        return None
    from headwater.local.kafka import VERSION  # needs what is installed where a local stack runs

    return VERSION


def named(text: str) -> tuple[str, str]:
    """NAME=URL. Raises typer.BadParameter."""
    name, equals, url = text.partition("=")
    if not equals or not name or not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"--service {text!r} is not of the form NAME=URL.")
    return name, url.rstrip("/")


def target_of(settings: Settings, state: State | None, project_id: str | None) -> "Target | None":
    """Where a test event goes: the project given or known, by keys of the settings, the local stack, or the control plane."""
    from headwater.doctor import Target

    url = (state.url if state else None) or settings.url
    project = project_id or settings.project_id or (state.project_id if state else None)
    if url is None or project is None:
        return None
    keys = (settings.write_key or settings.master_key, settings.read_key or settings.master_key)
    if keys[0] is not None and keys[1] is not None and settings.project_id in (None, project):
        return Target(url, project, keys[0].get_secret_value(), keys[1].get_secret_value())
    if state and state.project_id == project and state.write_key and state.read_key:
        return Target(url, project, state.write_key, state.read_key)
    return _from_control(settings, url, project)


def _from_control(settings: Settings, url: str, project_id: str) -> "Target | None":
    """By the keys that the control plane has; None where it cannot be read."""
    from confluent_kafka import KafkaException

    from headwater.control import ControlError, ControlPlane
    from headwater.doctor import Target
    from headwater.offsets import Offsets
    from headwater.settings import SettingsError

    try:
        Offsets(settings, CONTROL_SECONDS).partitions()
        plane = ControlPlane(settings)
    except (SettingsError, KafkaException):
        return None
    try:
        plane.start(CONTROL_SECONDS)
        project = plane.project(project_id)
    except ControlError:
        return None
    finally:
        plane.stop()
    return None if project is None else Target(url, project_id, project.write_key, project.read_key)
