"""`headwater project` and `headwater key`: the control plane on the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headwater.cli.local import DataDir, explained, local_settings, stack_settings
from headwater.local.state import read_state
from headwater.logs import configure_logs
from headwater.settings import Settings

if TYPE_CHECKING:  # the light client install has neither Kafka nor encryption; the commands say so when they run
    from headwater.control import ControlPlane, ControlWriter, Key, Project

START_SECONDS = 10.0
WIDTH = 250  # keys are to be copied, so no column is cut to the terminal's width

project = typer.Typer(help="Projects.", no_args_is_help=True)
key = typer.Typer(help="A project's keys.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
ProjectOption = Annotated[
    str | None, typer.Option("--project", help="The project's id (default: the local stack's project).")
]


class Kind(StrEnum):
    """What a key may do."""

    MASTER = "master"
    WRITE = "write"
    READ = "read"


@project.command("create")
def create_project(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Create a project with a master, a write and a read key."""
    with _writer(data_dir) as writer:
        _print(_project_row(writer.create_project(name), with_keys=True), as_json)


@project.command("list")
def list_projects(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the projects."""
    with _plane(data_dir) as plane:
        _print([_project_row(found) for found in plane.projects()], as_json)


@project.command("show")
def show_project(
    project_id: Annotated[str | None, typer.Argument(help="Its id (default: the local stack's project).")] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show a project with its keys, in clear, and its settings, secrets masked."""
    with _plane(data_dir) as plane:
        found = plane.project(project_of(project_id, data_dir))
        if found is None:
            raise _refused(f"There is no project {project_id}; `headwater project list` lists them.")
        _print(_project_row(found, with_keys=True), as_json)


@project.command("set")
def set_project(
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="[PROJECT_ID] NAME=VALUE...",
            help="The project's id (default: the local stack's project) and its settings; NAME= puts one back to its default.",
        ),
    ],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Change settings of a project; docs/project-settings.md lists them."""
    given = None if "=" in changes[0] else changes[0]
    pairs = [change.partition("=") for change in changes[given is not None :]]
    unclear = [name for name, equals, _ in pairs if not equals]
    if unclear or not pairs:
        raise _refused(f"A setting is given as NAME=VALUE; {[*unclear, given][0]!r} is not.")
    with _writer(data_dir) as writer:
        wanted = {name: value or None for name, _, value in pairs}
        changed = writer.change_settings(project_of(given, data_dir), wanted)
        _print(_project_row(changed) | {"settings": changed.settings.shown()}, as_json)


@key.command("create")
def create_key(
    kind: Annotated[Kind, typer.Argument(help="What the key may do.")],
    name: Annotated[str | None, typer.Option(help="What people call it (default: its kind).")] = None,
    project_id: ProjectOption = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Create one more key of a project."""
    with _writer(data_dir) as writer:
        created = writer.create_key(project_of(project_id, data_dir), kind.value, name or kind.value)
        _print(_key_row(created), as_json)


@key.command("list")
def list_keys(project_id: ProjectOption = None, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List a project's keys, in clear, revoked ones too."""
    with _plane(data_dir) as plane:
        _print([_key_row(found) for found in plane.keys(project_of(project_id, data_dir))], as_json)


@key.command("revoke")
def revoke_key(
    raw_key: Annotated[str, typer.Argument(metavar="KEY", help="The key itself.")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key invalid, for ever."""
    with _writer(data_dir) as writer:
        _print(_key_row(writer.revoke_key(raw_key)), as_json)


@contextmanager
def _plane(data_dir: Path | None) -> "Iterator[ControlPlane]":
    """The control plane, read to its end."""
    with explained():
        from headwater.control import ControlError, ControlPlane

    with explained(ControlError):
        plane = ControlPlane(_settings(data_dir))
        try:
            plane.start(START_SECONDS)
            yield plane
        finally:
            plane.stop()


@contextmanager
def _writer(data_dir: Path | None) -> "Iterator[ControlWriter]":
    with explained():
        from headwater.control import ControlError, ControlWriter

    with explained(ControlError), ControlWriter(_settings(data_dir), START_SECONDS) as writer:
        yield writer


def _settings(data_dir: Path | None) -> Settings:
    settings = stack_settings(data_dir)
    configure_logs(settings.model_copy(update={"log_format": "console"}), "cli")  # to stderr: stdout is the answer's
    return settings


def project_of(given: str | None, data_dir: Path | None) -> str:
    """The project that a command is about: the one given, else HEADWATER_PROJECT_ID, else the local stack's."""
    settings = local_settings(data_dir)
    state = read_state(settings.data_dir)
    found = given or settings.project_id or (state.project_id if state else None)
    if found is None:
        raise _refused("Which project? No local stack runs here; `headwater project list` lists the projects.")
    return found


def _refused(message: str) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(1)


def _project_row(found: "Project", with_keys: bool = False) -> dict[str, Any]:
    row: dict[str, Any] = {"id": found.id, "name": found.name}
    if with_keys:
        row |= {"master_key": found.master_key, "write_key": found.write_key, "read_key": found.read_key}
        row["settings"] = found.settings.shown()
    return row


def _key_row(found: "Key") -> dict[str, Any]:
    return {
        "key": found.key,
        "kind": found.kind,
        "name": found.name,
        "active": found.active,
        "project_id": found.project_id,
    }


def _print(content: dict[str, Any] | list[dict[str, Any]], as_json: bool) -> None:
    """One object down the page, several as a table; or JSON and nothing else."""
    if as_json:
        typer.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2))
        return
    if isinstance(content, dict):
        for name, value in content.items():
            if not isinstance(value, dict):
                typer.echo(f"{name + ':':<12} {value}")
                continue
            typer.echo(f"{name}:")
            for inner, one in value.items():
                typer.echo(f"  {inner + ':':<32} {one if isinstance(one, str) else orjson.dumps(one).decode()}")
        return
    table = Table(*(content[0] if content else ("none yet",)), box=None)
    for row in content:
        table.add_row(*(escape(str(value)) for value in row.values()))
    Console(width=WIDTH).print(table)
