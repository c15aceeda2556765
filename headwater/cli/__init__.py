"""The command line: every command is a function in a module of this package, and is listed here."""

import sys

import typer

from headwater.cli.control import key, project
from headwater.cli.dead_letters import dead_letter
from headwater.cli.demo import demo
from headwater.cli.github import github
from headwater.cli.load import load
from headwater.cli.query import query
from headwater.cli.segment import segment
from headwater.cli.services import serve, worker
from headwater.cli.stack import down, status, up
from headwater.settings import SettingsError

app = typer.Typer(
    name="headwater",
    help="Collect events, enrich them in flight, and ask grouped, ordered, time-bucketed questions within seconds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for command in (up, status, down, demo, load, query, serve, worker):
    app.command()(command)
GROUPS = {"project": project, "key": key, "dead-letter": dead_letter, "github": github, "segment": segment}
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def main() -> None:
    """The `headwater` program. Exit code 0 only on success; a setting that is wrong is one line on stderr."""
    try:
        app()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the program's own output
        sys.exit(1)
