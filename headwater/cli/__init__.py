"""The command line: every command is a function, or a group of them, in a module of this package, and is listed here."""

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from headwater.settings import SettingsError

COMMANDS = {  # as they are listed by --help: the module, and the name in it
    "up": ("stack", "up"),
    "status": ("stack", "status"),
    "down": ("stack", "down"),
    "demo": ("demo", "demo"),
    "load": ("load", "load"),
    "query": ("query", "query"),
    "trace": ("trace", "trace"),
    "doctor": ("doctor", "doctor"),
    "replay": ("replay", "replay"),
    "serve": ("services", "serve"),
    "worker": ("services", "worker"),
    "project": ("control", "project"),
    "key": ("control", "key"),
    "dead-letter": ("dead_letters", "dead_letter"),
    "github": ("github", "github"),
    "segment": ("segment", "segment"),
}


class Commands(Mapping[str, Any]):
    """COMMANDS, each imported when it is asked for: all of them take most of a second, and a service needs one."""

    def __getitem__(self, name: str) -> Any:
        module, attribute = COMMANDS[name]
        found = getattr(import_module(f"headwater.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            command: Any = typer.main.get_group(found)
        else:
            alone = typer.Typer(add_completion=False)
            alone.command()(found)
            command = typer.main.get_command(alone)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Program(TyperGroup):
    """A group whose commands are imported one by one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands()  # type: ignore[assignment]  # nothing adds to them

    def list_commands(self, _ctx: Any) -> list[str]:
        """In the order of COMMANDS."""
        return list(self.commands)


app = typer.Typer(
    name="headwater",
    cls=Program,
    help="Collect events, enrich them in flight, and ask grouped, ordered, time-bucketed questions within seconds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def program() -> None:
    """A program of commands, though none is registered before it is asked for."""


def main() -> None:
    """The `headwater` program. Exit code 0 only on success; a setting that is wrong is one line on stderr."""
    try:
        app()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the program's own output
        sys.exit(1)
