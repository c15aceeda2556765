"""`scripts/faults [--only NAME...] [--runs N] [--short] [--resume FILE]`: run the matrix, print its table, write its JSON, and docs/faults.md of a whole run."""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

import structlog
from rich.console import Console

from headwater.settings import PREFIX
from tests.faults.matrix import report
from tests.faults.matrix.faults import CONTROLS, FAULTS
from tests.faults.matrix.running import Runner


def main() -> int:
    """Run what is asked for; 0 where every fault passed and every control was found out."""
    parser = argparse.ArgumentParser(
        prog="scripts/faults", description="Break Headwater under load in every way, with a referee."
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these faults (default: all); --list has the names")
    parser.add_argument("--runs", type=int, help="runs of each fault, at moments in turn (default: 3; short: 1)")
    parser.add_argument("--short", action="store_true", help="short waits, and only the handful that CI runs")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="the JSON of a run that ended before its time: go on with it"
    )
    parser.add_argument("--list", action="store_true", help="list the faults")
    arguments = parser.parse_args()
    everything = [*FAULTS, *CONTROLS]
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    if arguments.list:
        for fault in everything:
            console.print(f"{fault.name}: {fault.injected}", soft_wrap=True)
        return 0
    unknown = set(arguments.only or ()) - {fault.name for fault in everything}
    if unknown:
        parser.error(f"no fault {', '.join(sorted(unknown))}: --list has them")
    times = arguments.runs if arguments.runs is not None else 1 if arguments.short else 3
    if times < 1:
        parser.error("--runs must be 1 or more")
    chosen = [
        fault
        for fault in everything
        if (fault.name in arguments.only if arguments.only else fault.short or not arguments.short)
    ]
    logging.getLogger("clickhouse_connect").setLevel(
        logging.CRITICAL
    )  # each try to reach a server that is away is a line
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # the stack has settings of its own
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started and mounted goes, too
    path = arguments.resume or report.new_path()
    try:
        heading, runs = report.resume(path) if arguments.resume else (report.heading(), [])
    except (OSError, ValueError) as error:
        parser.error(f"--resume: {error}")
    console.print(f"Every run is in {path}", soft_wrap=True)
    # What a run that is gone on with has of other faults stays in its file.
    told = [fault for fault in everything if fault in chosen or any(run.fault == fault.name for run in runs)]
    with Runner(console.print, short=arguments.short) as runner:
        for run in runner.run(chosen, times, [*runs]):
            runs.append(run)
            report.write(report.document(heading, told, runs), path)
    document = report.document(heading, told, runs)
    report.show(console, document)
    if len(chosen) == len(everything) and not arguments.short:
        report.publish(document)
    return 0 if report.as_expected(document) else 1


if __name__ == "__main__":
    sys.exit(main())
