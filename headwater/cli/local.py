"""What the commands that deal with the local stack share: `--data-dir`, and errors as one line."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from headwater.local.state import read_state
from headwater.settings import Settings, load_settings

DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder of the local stack's state (default: HEADWATER_DATA_DIR, else .headwater)."),
]


def local_settings(data_dir: Path | None, **overrides: object) -> Settings:
    """Settings from the environment with what was given on top. Raises SettingsError."""
    given = {"data_dir": data_dir, **overrides}
    return load_settings(**{name: value for name, value in given.items() if value is not None})


def stack_settings(data_dir: Path | None) -> Settings:
    """Settings of the environment; Kafka, ClickHouse and the secret of the local stack where one runs in the data directory. Raises SettingsError."""
    settings = local_settings(data_dir)
    state = read_state(settings.data_dir)
    return (
        settings
        if state is None
        else local_settings(data_dir, kafka=state.kafka, clickhouse=state.clickhouse, secret=state.secret)
    )


def data_dir_option(folder: Path) -> str:
    """What a command needs to be about this data directory, as a shell reads it; nothing for the usual one."""
    return "" if folder == Path(".headwater") else f" --data-dir {shlex.quote(str(folder))}"


@contextmanager
def explained(*errors: type[Exception]) -> Iterator[None]:
    """Turn these errors into their message on stderr and exit code 1."""
    try:
        yield
    except errors as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    except ModuleNotFoundError as error:
        typer.echo(f"{error.name} is not installed: {_remedy(str(error.name))}", err=True)
        raise typer.Exit(1) from None


def _remedy(module: str) -> str:
    if module.partition(".")[0] in ("collector", "api", "processors", "sinks"):
        return "services run from the checkout or the image; the installed package holds the client only."
    return "install it with `pip install 'headwater[local]'` (the whole stack) or `'headwater[server]'` (the services)."
