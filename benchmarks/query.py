"""Questions to ten million events: through HTTP, through Python, by hand in SQL, and to DuckDB over the same events in Parquet."""

import hashlib
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import clickhouse_connect
import duckdb
import httpx
import orjson
import psutil
import uvloop
from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.http_load import get, send_all
from benchmarks.measure import Benchmark, Figures, Goal, spread
from benchmarks.query_answers import differences
from benchmarks.query_data import COLLECTION, described, load
from benchmarks.query_questions import QUESTIONS, TABLE, Question
from benchmarks.query_shaping import shaping_milliseconds
from benchmarks.stack import BenchmarkError, Stack, wait_for
from headwater import connect
from headwater.client.client import Client as Headwater
from headwater.control import Project
from headwater.control.writer import ControlWriter
from headwater.kafka import create_base_topics
from headwater.query.clickhouse import database
from headwater.query.paths import quoted
from headwater.query.statements import Limits
from headwater.settings import Settings

EVENTS = 10_000_000
QUICK_SECONDS = 0.2  # what is answered sooner is asked again, and its median taken
MOST_TIMES = 5
CACHED_SECONDS = 5.0
CACHED_CLIENTS = 8
LOAD_SECONDS = 3_600
LIMITS = Limits()
SQL_SETTINGS = {
    # A month follows from the timestamp, so copies of an event are in one partition: whoever knows the table knows that.
    "do_not_merge_across_partitions_select_final": 1,
    "max_memory_usage": LIMITS.memory_bytes,
}

HTTP, PYTHON, SQL, DUCKDB = "HTTP", "Python", "SQL by hand", "DuckDB"
WAYS = (HTTP, PYTHON, SQL, DUCKDB)
OURS = (HTTP, PYTHON)
ALL, CACHED, SHAPING = "all questions", f"cached answers, {CACHED_CLIENTS} clients", "compile and shape"

Ask = Callable[[Question], Any]


def run(rounds: int, events: int = EVENTS, cache: Path | None = None) -> Benchmark:
    """A round asks every question each way, one way after the other. `cache` keeps what was loaded for later runs.

    Raises BenchmarkError where two answers to a question differ.
    """
    benchmark = Benchmark(
        "query",
        f"{len(QUESTIONS)} questions to {events:,} events; engine, API and client on this machine",
        "answers/s",
        {"events": events, "questions": {one.name: one.params for one in QUESTIONS}},
        (
            *(Goal(f"{ALL}, {way}", 0.9, f"{ALL}, {SQL}") for way in OURS),
            *(Goal(_case(one, way), 0.7, _case(one, SQL)) for one in QUESTIONS for way in OURS),
            Goal(SHAPING, 5.0, figure="p99 ms", at_most=True),
            Goal(CACHED, 10.0, figure="p99 ms", at_most=True),
            Goal(f"{ALL}, {HTTP}", 1.1, figure="API's memory against before", at_most=True),
        ),
    )
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack, ExitStack() as exits:
        files = _place(cache or Path(folder), events)
        stack.start_clickhouse(files / "clickhouse")
        stack.start_kafka()
        settings = stack.deployment()
        create_base_topics(settings)
        with ControlWriter(settings) as writer:
            project = writer.create_project("benchmark")
        client = clickhouse_connect.get_client(
            dsn=settings.clickhouse, autogenerate_session_id=False, send_receive_timeout=LOAD_SECONDS
        )
        exits.callback(client.close)
        _loaded(client, files, project.id, events)
        child, port = exits.enter_context(stack.service(settings, "serve", "api"))
        api = httpx.Client(base_url=f"http://127.0.0.1:{port}/3.0/projects/{project.id}", timeout=LIMITS.seconds)
        exits.callback(api.close)
        asks = _asks(exits, settings, project, client, api, files)
        _measure(benchmark, rounds, asks, psutil.Process(child.pid))
        milliseconds = shaping_milliseconds(client, project.id, QUESTIONS, LIMITS)
        benchmark.add(SHAPING, value=1000 / median(milliseconds), **_percentiles(milliseconds))
        benchmark.add(CACHED, **_cached(api, port, project))
    return benchmark


def _place(cache: Path, events: int) -> Path:
    """A folder for what is loaded, of its own for each kind of it."""
    return cache / f"{events}-{hashlib.sha256(described(events).encode()).hexdigest()[:12]}"


def _loaded(client: Client, files: Path, project_id: str, events: int) -> None:
    """Load the events, or give those of an earlier run to the project."""
    done = files / "loaded"
    if done.exists():
        client.command(f"RENAME DATABASE {quoted(database(done.read_text()))} TO {quoted(database(project_id))}")
    else:
        load(client, project_id, events, "parquet")
    done.write_text(project_id)


def _asks(
    exits: ExitStack, settings: Settings, project: Project, client: Client, api: httpx.Client, files: Path
) -> dict[str, Ask]:
    """How each way asks a question and gets its answer as Python values."""
    headwater: Headwater = connect(clickhouse=settings.clickhouse, project_id=project.id, settings=settings)
    exits.callback(headwater.close)
    parquet = duckdb.connect(config={"threads": psutil.cpu_count() or 1})
    exits.callback(parquet.close)
    parquet.execute("SET TimeZone = 'UTC'")
    table = f"{quoted(database(project.id))}.{quoted(COLLECTION)}"
    source = f"read_parquet('{files}/clickhouse/parquet/*.parquet')"

    def by_http(question: Question) -> Any:
        answer = api.post(
            f"queries/{question.analysis}", json=question.params, headers={"Authorization": project.read_key}
        )
        if answer.status_code != 200:
            raise BenchmarkError(f"{question.name}: {answer.status_code} {answer.text[:300]}")
        return orjson.loads(answer.content)["result"]

    def by_python(question: Question) -> Any:
        value = headwater.query(question.analysis, **question.params).value
        return value["result"] if question.analysis == "funnel" else value

    return {
        HTTP: by_http,
        PYTHON: by_python,
        SQL: lambda one: client.query(one.clickhouse.replace(TABLE, table), settings=SQL_SETTINGS).result_rows,
        DUCKDB: lambda one: parquet.execute(one.duckdb.replace(TABLE, source)).fetchall(),
    }


def _measure(benchmark: Benchmark, rounds: int, asks: dict[str, Ask], api: psutil.Process) -> None:
    """Ask everything once to compare the answers, then in rounds, in each of which another way is the first."""
    for question in QUESTIONS:
        answers = {way: ask(question) for way, ask in asks.items()}
        if found := differences(question, answers[SQL], {way: answers[way] for way in WAYS if way != SQL}, OURS):
            raise BenchmarkError(f"{question.name}: {found}")
    before = api.memory_info().rss
    for number in range(rounds):
        order = [*WAYS[number % len(WAYS) :], *WAYS[: number % len(WAYS)]]
        logarithms = dict.fromkeys(WAYS, 0.0)
        for question in QUESTIONS:
            for way in order:
                seconds = _seconds(lambda: asks[way](question))  # noqa: B023 - called at once
                logarithms[way] += math.log(seconds)
                benchmark.add(_case(question, way), value=1 / seconds)
        for way in WAYS:
            more = {"API's memory against before": api.memory_info().rss / before, "API's MB": before / 1e6}
            speed = math.exp(-logarithms[way] / len(QUESTIONS))
            benchmark.add(f"{ALL}, {way}", value=speed, **(more if way == HTTP else {}))


def _seconds(ask: Callable[[], Any]) -> float:
    taken: list[float] = []
    while len(taken) < MOST_TIMES and sum(taken) < QUICK_SECONDS:
        began = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began)
    return median(taken)


def _cached(api: httpx.Client, port: int, project: Project) -> Figures:
    """A saved query's answers, asked for by clients one after the other."""
    question = next(one for one in QUESTIONS if one.analysis == "count" and "group_by" in one.params)
    body = {"query": question.params | {"analysis_type": question.analysis}, "refresh_rate": 86_400}
    saved = api.put("queries/saved/cached", json=body, headers={"Authorization": project.master_key})
    if saved.status_code not in (200, 201):
        raise BenchmarkError(f"saved query: {saved.status_code} {saved.text[:300]}")
    headers = {"Authorization": project.read_key}
    wait_for(
        lambda: api.get("queries/saved/cached/result", headers=headers).status_code == 200, LIMITS.seconds, "an answer"
    )
    request = get(f"/3.0/projects/{project.id}/queries/saved/cached/result", project.read_key)
    until = time.perf_counter() + CACHED_SECONDS
    answers = uvloop.run(send_all(port, iter(lambda: request, b""), CACHED_CLIENTS, until))
    milliseconds = answers.milliseconds()
    return {"value": len(milliseconds) / CACHED_SECONDS} | _percentiles(milliseconds)


def _percentiles(milliseconds: list[float]) -> Figures:
    percentiles = quantiles(milliseconds, n=100, method="inclusive")
    return {"p50 ms": percentiles[49], "p99 ms": percentiles[98]}


def _case(question: Question, way: str) -> str:
    return f"{question.name}, {way}"


def show(console: Console, benchmark: Benchmark) -> None:
    """Print a line for each question: milliseconds each way, the widest spread, and the speed against SQL by hand."""
    table = Table(title=f"{benchmark.name}: {benchmark.meaning}", title_justify="left")
    table.add_column("question")
    for heading in (*(f"{way} ms" for way in WAYS), "spread", *(f"{way} / SQL" for way in OURS)):
        table.add_column(heading, justify="right")
    for name in (*(one.name for one in QUESTIONS), ALL):
        speeds = [benchmark.values(f"{name}, {way}") for way in WAYS]
        ratios = [benchmark.outcome(Goal(f"{name}, {way}", 0.7, f"{name}, {SQL}")) or 0.0 for way in OURS]
        table.add_row(
            name,
            *(f"{1000 / median(values):,.1f}" for values in speeds),
            f"{max(map(spread, speeds)):.0%}",
            *(f"{ratio:.2f}" for ratio in ratios),
        )
    console.print(table)
    for case in (SHAPING, CACHED, f"{ALL}, {HTTP}"):
        names = [name for name in benchmark.runs[case][0] if name != "value"]
        figures = (f"{name} {median(benchmark.values(case, name)):,.2f}" for name in names)
        console.print(f"  {case}: {', '.join(figures)}")
    report.show_goals(console, benchmark, missed_only=True)
