"""`python -m benchmarks [PART...] [--rounds N] [--events N] [--minutes N] [--cache FOLDER]`: run benchmarks, print their tables, write their JSON."""

import argparse
import importlib
import os
from pathlib import Path

from rich.console import Console

from benchmarks import report
from headwater.settings import PREFIX

PARTS = (
    "client",
    "enrich",
    "collector",
    "load",
    "abuse",
    "processor",
    "profile",
    "scale",
    "restore",
    "sink",
    "query",
    "pipeline",
    "soak",
)
UNASKED = tuple(part for part in PARTS if part != "soak")  # run when none is named
MIN_EVENTS = 10_000  # with fewer, some questions would be about nothing


def main() -> None:
    """Run the parts that are named, else all."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measure parts of Headwater against a peer or a limit."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all but soak)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each benchmark (default: 3)")
    parser.add_argument(
        "--events", type=int, default=10_000_000, help="events that query asks about (default: 10,000,000)"
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="how long soak sends (default: 30)")
    parser.add_argument("--cache", type=Path, help="folder where query keeps its events for the next run")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    if arguments.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if arguments.events < MIN_EVENTS:
        parser.error(f"--events must be {MIN_EVENTS} or more")
    if arguments.minutes <= 0:
        parser.error("--minutes must be more than 0")
    options = {"soak": {"minutes": arguments.minutes}, "query": {"events": arguments.events, "cache": arguments.cache}}
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # a benchmark's deployments have settings of their own
    console = Console()
    before, done = report.machine(), []
    for part in arguments.parts or UNASKED:
        with console.status(f"{part}: {arguments.rounds} rounds"):
            module = importlib.import_module(f"benchmarks.{part}")
            benchmark = module.run(arguments.rounds, **options.get(part, {}))
        getattr(module, "show", report.show)(console, benchmark)
        done.append(benchmark)
    console.print(f"Every run is in {report.write(done, before)}")


if __name__ == "__main__":
    main()
