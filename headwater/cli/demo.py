"""`headwater demo`: a year of real flights through the whole pipeline, and six questions about them."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headwater.cli.local import DataDir, data_dir_option, explained, local_settings
from headwater.cli.stack import up
from headwater.cli.tables import as_table, pivoted
from headwater.client.connection import connect
from headwater.client.errors import ConnectError
from headwater.local.state import State, read_state
from headwater.query import QueryError, Result
from headwater.settings import Settings

if TYPE_CHECKING:
    from headwater.demo.questions import Question
    from headwater.demo.run import Delivery


def demo(
    check: Annotated[bool, typer.Option("--check", help="Also work the answers out by pandas, and compare.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Send the 336,776 flights that left New York City in 2013, and ask six questions about them.

    Starts a stack where none runs, and leaves it running. Run again, it sends the same events: nothing doubles.
    """
    settings = local_settings(data_dir)
    with explained():
        from headwater.demo.flights import COLLECTION, count_flights, flights_file, read_flights
        from headwater.demo.questions import QUESTIONS
        from headwater.demo.run import DemoError, send_flights
        from headwater.demo.visitors import visitors
    if read_state(settings.data_dir) is None:
        up(detach=True, data_dir=data_dir, port=None, kafka=None, clickhouse=None, processors=1)
    console = Console()
    state = read_state(settings.data_dir)
    with explained(ConnectError, DemoError, QueryError, FileNotFoundError):
        if state is None or state.project_id is None:
            raise DemoError(f"the stack in {settings.data_dir} is not ready; `headwater status` says more")
        file = flights_file()
        total = count_flights(file)
        with connect(state.url, state.project_id, write_key=state.write_key, read_key=state.read_key) as client:
            with _progress(console) as progress:
                task = progress.add_task("Flights", total=total)
                delivery = send_flights(
                    client,
                    zip(read_flights(file), visitors(), strict=False),
                    lambda accepted: progress.update(task, completed=accepted),
                )
            rows = client.count(COLLECTION).value
            _print_delivery(console, delivery, rows, total)
            results = [client.query(one.analysis, COLLECTION, **one.parameters) for one in QUESTIONS]
        for question, result in zip(QUESTIONS, results, strict=True):
            _print_answer(console, question, result, state)
        if rows != total:
            raise DemoError(f"the collection has {rows:,} rows, the file {total:,}")
        if check:
            _check(console, file, results)
    _print_farewell(console, settings, state)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _print_delivery(console: Console, delivery: "Delivery", rows: int, total: int) -> None:
    rate = delivery.events / delivery.accepted_seconds
    console.print(
        f"Accepted: {delivery.events:,} events in {delivery.accepted_seconds:.1f} s, {rate:,.0f} events/s, "
        "by the collector over HTTP, each acknowledged by Kafka.\n"
        f"Visible:  the last one {delivery.visible_seconds:.1f} s after its answer, enriched by three add-ons.\n"
        f"Rows:     {rows:,} in ClickHouse, {total:,} in the file.",
        highlight=False,
    )


def _print_answer(console: Console, question: "Question", result: Result, state: State) -> None:
    console.print()
    console.print(question.title, style="bold", highlight=False)
    console.print(as_table(pivoted(result)))
    console.print(question.python(), style="cyan", markup=False, highlight=False, soft_wrap=True)
    curl = question.curl(state.url, str(state.project_id), str(state.read_key))
    console.print(curl, style="dim", markup=False, highlight=False, soft_wrap=True)


def _check(console: Console, file: Path, results: list[Result]) -> None:
    """Compare the answers with pandas'. Raises DemoError where they differ."""
    import pandas

    from headwater.demo.expected import different_answers
    from headwater.demo.run import DemoError

    different = different_answers(pandas.read_csv(file), results)
    if different:
        raise DemoError(f"pandas has another answer to: {'; '.join(different)}")
    console.print(f"\nChecked: pandas has the same {len(results)} answers over the same file.")


def _print_farewell(console: Console, settings: Settings, state: State) -> None:
    where = data_dir_option(settings.data_dir)
    argument = f"data_dir={str(settings.data_dir)!r}" if where else ""
    program = shlex.quote(f"import headwater; print(headwater.connect({argument}).live())")
    console.print(
        f"""
The stack goes on running at {state.url}.

    .venv/bin/headwater query count flights --group-by origin --order-by result:DESC{where}
    .venv/bin/headwater status{where}
    .venv/bin/python -c {program}

Stop it with
    .venv/bin/headwater down{where}""",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
