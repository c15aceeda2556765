"""`headwater serve` and `headwater worker`: one service in the foreground, as the supervisor and the image run them."""

from enum import StrEnum
from typing import Annotated

import typer

from headwater.cli.local import DataDir, explained, local_settings


class HttpService(StrEnum):
    """What serves HTTP."""

    COLLECTOR = "collector"
    API = "api"
    ALL = "all"


class WorkerService(StrEnum):
    """What works on Kafka's records."""

    PROCESSOR = "processor"
    SINK = "sink"


def serve(
    service: Annotated[HttpService, typer.Argument(help="The collector, the API, or both on one port.")],
    data_dir: DataDir = None,
) -> None:
    """Serve HTTP until SIGTERM. Everything else is set by HEADWATER_* variables."""
    settings = local_settings(data_dir)
    with explained():
        from headwater.control.model import ControlError
        from headwater.serve import ServeError, run_http

        with explained(ServeError, ControlError, OSError):
            run_http(service.value, settings)


def worker(
    service: Annotated[WorkerService, typer.Argument(help="Raw events to collections, or collections to ClickHouse.")],
    data_dir: DataDir = None,
) -> None:
    """Run a worker until SIGTERM. Everything else is set by HEADWATER_* variables."""
    settings = local_settings(data_dir)
    with explained():
        from headwater.control.model import ControlError

        if service is WorkerService.PROCESSOR:
            from processors.app import run
        else:
            from sinks.app import run
    with explained(ControlError, OSError):
        run(settings)
