"""What `headwater status` shows."""

import json
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from headwater.cli import app
from headwater.cli.local import data_dir_option
from headwater.cli.stack import minute_counts, public
from headwater.local.state import ServiceState, State, hold

NOW = datetime(2026, 11, 22, 18, 5, 30, tzinfo=UTC)


def live(**received: list[list[Any]]) -> dict[str, Any]:
    """A `/live` answer with these rows of received minutes."""
    return {
        "collections": {
            name: {"events": 7, "bytes": 70, "last_event_at": "2026-11-22T18:05:12.000Z", "received": {"minutes": rows}}
            for name, rows in received.items()
        }
    }


def test_events_per_minute_are_those_of_the_clock() -> None:
    rows = [["2026-11-22T18:03:00.000Z", 1], ["2026-11-22T18:04:00.000Z", 2], ["2026-11-22T18:05:00.000Z", 4]]
    assert minute_counts(live(a=rows, b=rows[:1]), NOW) == [
        ("a", 7, 2, 4, "2026-11-22T18:05:12.000Z"),
        ("b", 7, 0, 0, "2026-11-22T18:05:12.000Z"),
    ]


def test_no_collection_no_row() -> None:
    assert minute_counts({"collections": {}}, NOW) == []


def test_the_json_of_a_stack_that_is_starting() -> None:
    state = State(
        supervisor_pid=1,
        supervisor_created=0.5,
        url="http://127.0.0.1:7000",
        kafka="127.0.0.1:19092",
        clickhouse="http://default:x@127.0.0.1:18123",
        secret="never shown",
        services={"kafka": ServiceState(pid=4, ready=False, restarts=2, port=19092, created=0.5)},
    )
    assert public(state) == {
        "ready": False,
        "url": "http://127.0.0.1:7000",
        "project_id": None,
        "master_key": None,
        "write_key": None,
        "read_key": None,
        "kafka": "127.0.0.1:19092",
        "clickhouse": "http://default:x@127.0.0.1:18123",
        "database": None,
        "services": {"kafka": {"pid": 4, "ready": False, "restarts": 2, "port": 19092}},
    }


def test_a_stack_of_which_nothing_is_known_yet_runs_and_is_not_ready(tmp_path: Path) -> None:
    arguments = ["status", "--json", "--data-dir", str(tmp_path)]
    assert CliRunner().invoke(app, arguments).exit_code == 1
    with hold(tmp_path):
        result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["ready"], said["url"], said["services"]) == (False, None, {})


def test_commands_that_are_printed_can_be_pasted() -> None:
    folder = "/tmp/Ana's data, \\ $HOME"
    assert shlex.split("headwater down" + data_dir_option(Path(folder))) == ["headwater", "down", "--data-dir", folder]
    assert data_dir_option(Path(".headwater")) == ""
