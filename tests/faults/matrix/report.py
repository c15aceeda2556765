"""What a run of the matrix leaves: a table, a JSON file with every run, and docs/faults.md, which is made from that file."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.report import machine, versions
from headwater.atomic_file import replace_file
from tests.faults.matrix.referee import ERROR, MISMATCH, PASS
from tests.faults.matrix.scene import MOMENTS, Fault, Run

ROOT = Path(__file__).parents[3]
RECORD = ROOT / "docs" / "faults.json"
PAGE = ROOT / "docs" / "faults.md"
RESULTS = ROOT / "benchmarks" / "results"


def heading() -> dict[str, Any]:
    """When and on what a run of the matrix begins."""
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "versions": versions()}


def document(heading: dict[str, Any], faults: Iterable[Fault], runs: list[Run]) -> dict[str, Any]:
    """Everything about a run of the matrix, as JSON."""
    return heading | {
        "moments": MOMENTS,
        "faults": [
            {
                "name": fault.name,
                "injected": fault.injected,
                "seen": fault.seen,
                "control": bool(fault.broken),
                "runs": [asdict(run) for run in runs if run.fault == fault.name],
            }
            for fault in faults
        ],
    }


def outcome(fault: dict[str, Any]) -> str:
    """The outcome of all runs of a fault: the worst; of a control, the best: each must be found out."""
    found = {run["outcome"] for run in fault["runs"]}
    order = (PASS, ERROR, MISMATCH) if fault["control"] else (ERROR, MISMATCH, PASS)
    return next((each for each in order if each in found), ERROR)


def is_found_out(outcome: str, differences: Iterable[str]) -> bool:
    """Whether the referee found out what was broken on purpose: a count that is wrong, and not merely that something took too long."""
    return outcome == MISMATCH and any("ClickHouse has" in each or "live figures" in each for each in differences)


def as_expected(written: dict[str, Any]) -> bool:
    """Whether all faults passed, and all controls were found out."""
    return all(
        fault["runs"] and all(is_found_out(run["outcome"], run["differences"]) for run in fault["runs"])
        if fault["control"]
        else outcome(fault) == PASS
        for fault in written["faults"]
    )


def show(console: Console, written: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title="Faults", title_justify="left")
    for heading in ("fault", "outcome", "runs", "recovery s, median", "max", "longest wait s, max"):
        table.add_column(heading, justify="left" if heading in ("fault", "outcome") else "right")
    for fault in written["faults"]:
        table.add_row(fault["name"], outcome(fault), str(len(fault["runs"])), *_seconds(fault))
    console.print(table)


def new_path() -> Path:
    """A file in benchmarks/results/ for a run that begins now."""
    RESULTS.mkdir(exist_ok=True)
    return RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-faults.json"


def write(written: dict[str, Any], path: Path) -> None:
    """Write what is known so far, in one step: whenever it ends, what it has found stays."""
    replace_file(path, (json.dumps(written, indent=1) + "\n").encode())


def resume(path: Path) -> tuple[dict[str, Any], list[Run]]:
    """What `write` left of a run that ended before its time: its heading, and its runs, but for those of which nothing was found out.

    Raises ValueError where it is of another commit or machine: half a table would be of something else. OSError without the file.
    """
    written = json.loads(path.read_text())
    now = heading()
    for name, then, is_now in (
        ("commit", written["versions"]["headwater"], now["versions"]["headwater"]),
        ("processor", written["machine"]["cpu"], now["machine"]["cpu"]),
    ):
        if then != is_now:
            raise ValueError(f"{path} is of {name} {then}, this is {is_now}: begin anew")
    runs = [Run(**run) for fault in written["faults"] for run in fault["runs"] if run["outcome"] != ERROR]
    return {name: written[name] for name in now}, runs


def publish(written: dict[str, Any]) -> None:
    """Write a complete run into docs/, with the page that is made from it."""
    write(written, RECORD)
    PAGE.write_text(page(written))


def page(written: dict[str, Any]) -> str:
    """docs/faults.md."""
    runs = sum(len(fault["runs"]) for fault in written["faults"])
    moments = "\n".join(f"- *{name}*: {meaning}" for name, meaning in written["moments"].items())
    faults = [fault for fault in written["faults"] if not fault["control"]]
    controls = [fault for fault in written["faults"] if fault["control"]]
    errors = [
        f"- `{fault['name']}` ({run['moment']}): {run['outcome']}: {'; '.join(run['differences'])}"
        for fault in faults
        for run in fault["runs"]
        if run["outcome"] != PASS
    ]
    heads = ("fault", "what was injected", "what a user sees", "outcome", "recovery, median", "max", "longest wait")
    lines = [(f"`{f['name']}`", f["injected"], f["seen"], f"{outcome(f)} ({_passed(f)})", *_seconds(f)) for f in faults]
    control_lines = [
        (f"`{fault['name']}`", fault["injected"], f"{outcome(fault)} ({_found(fault)})") for fault in controls
    ]
    return (
        "<!-- Written by scripts/faults from docs/faults.json. Run it again, do not change this page. -->\n\n"
        "# Faults\n\n"
        f"`scripts/faults` breaks a whole stack under load, {runs} runs on {written['at'][:10]}, on {written['machine']['cores']} cores "
        f"({written['machine']['cpu']}), at {written['versions']['headwater']}. Each run is a fault at one moment of the load's life:\n\n"
        f"{moments}\n\n"
        "A *referee* holds every run to a ledger, in which an event is entered when its request was answered with success; what was not is sent "
        "again, byte for byte, until it is. It compares the ledger with the raw topic, the topics of collections, ClickHouse (count, distinct ids, "
        "sum), the API's answers (count, sum), the live figures (in one project each id counts once, in others each raw record; one of them has history) and the dead "
        "letters. PASS: all agree. MISMATCH: they do not, or not within 120 s. ERROR: it could not be found out, or the fault could not be "
        "injected.\n\n"
        "*Recovery* is the time in seconds from the end of the fault until requests sent since are answered, every event answered until then is "
        "visible in queries, and every service is ready. *Longest wait* is the longest that a sender waited for an answer of success, the fault's "
        "own time among it.\n\n"
        + _table(heads, lines)
        + "\n## Negative controls\n\nThe same with a Headwater that was broken on purpose. The referee must find it out: MISMATCH is right.\n\n"
        + _table(("control", "what was injected", "outcome"), control_lines)
        + (("\n## Runs that did not pass\n\n" + "\n".join(errors) + "\n") if errors else "")
    )


def _passed(fault: dict[str, Any]) -> str:
    return f"{sum(run['outcome'] == PASS for run in fault['runs'])} of {len(fault['runs'])}"


def _found(fault: dict[str, Any]) -> str:
    return f"{sum(is_found_out(run['outcome'], run['differences']) for run in fault['runs'])} of {len(fault['runs'])}"


def _seconds(fault: dict[str, Any]) -> tuple[str, str, str]:
    recoveries = [run["recovery"] for run in fault["runs"] if run["recovery"] is not None]
    waits = [run["longest_wait"] for run in fault["runs"]]
    if not recoveries or fault["control"]:
        return "", "", ""
    return f"{median(recoveries):.1f}", f"{max(recoveries):.1f}", f"{max(waits):.1f}"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
