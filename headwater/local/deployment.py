"""What a local deployment keeps for ever: its secret, its project's keys, ClickHouse's password, and its ports."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from headwater.control.model import Project
from headwater.control.writer import ControlWriter
from headwater.local.state import write_private
from headwater.settings import Settings

PROJECT_NAME = "demo"


class DeploymentError(Exception):
    """The deployment's file cannot be read; the message names it."""


@dataclass(frozen=True)
class Deployment:
    """Kept in `deployment.json` in the data directory, readable by this user only."""

    secret: str = field(repr=False)
    clickhouse_password: str = field(repr=False)
    project_id: str | None = None  # None until the first start has made it
    ports: Mapping[str, int] = field(default_factory=dict)  # the last ones, tried first at the next start


def load_deployment(data_dir: Path, secret: str | None) -> Deployment:
    """The deployment of a data directory, a new one where there is none; `secret`, where given, is used and kept.

    Raises DeploymentError for a file that is not one of ours.
    """
    path = _path(data_dir)
    try:
        kept = Deployment(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        kept = Deployment(secret=secrets.token_hex(32), clickhouse_password=secrets.token_hex(16))
    except (ValueError, TypeError) as error:
        raise DeploymentError(
            f"{path} cannot be read ({error}). It holds this deployment's secret: restore it, or begin anew with "
            "another --data-dir."
        ) from None
    return replace(kept, secret=secret or kept.secret)


def save_deployment(data_dir: Path, deployment: Deployment) -> None:
    """Keep it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    write_private(_path(data_dir), asdict(deployment))


def ensure_project(settings: Settings, project_id: str | None) -> Project:
    """The deployment's project from the control plane: the one with this id, else the one named `demo`, else a new one.

    Blocks on Kafka up to a minute. Raises ControlError.
    """
    with ControlWriter(settings) as writer:
        known = writer.plane.project(project_id) if project_id else None
        if known is None:
            known = next((project for project in writer.plane.projects() if project.name == PROJECT_NAME), None)
        return known or writer.create_project(PROJECT_NAME)


def _path(data_dir: Path) -> Path:
    return data_dir / "deployment.json"
