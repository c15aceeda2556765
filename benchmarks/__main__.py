"""`python -m benchmarks [PART...] [--rounds N]`: run benchmarks, print their tables, write their JSON."""

import argparse
import importlib
import os

from rich.console import Console

from benchmarks import report
from headwater.settings import PREFIX

PARTS = ("enrich", "collector", "processor", "sink", "pipeline")


def main() -> None:
    """Run the parts that are named, else all."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measure parts of Headwater against a peer or a limit."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each benchmark (default: 3)")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    if arguments.rounds < 1:
        parser.error("--rounds must be 1 or more")
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # a benchmark's deployments have settings of their own
    console = Console()
    before, done = report.machine(), []
    for part in arguments.parts or PARTS:
        with console.status(f"{part}: {arguments.rounds} rounds"):
            benchmark = importlib.import_module(f"benchmarks.{part}").run(arguments.rounds)
        report.show(console, benchmark)
        done.append(benchmark)
    console.print(f"Every run is in {report.write(done, before)}")


if __name__ == "__main__":
    main()
