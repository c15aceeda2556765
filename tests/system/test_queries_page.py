"""docs/queries.md says what is so: each of its examples is asked of a stack in every way that the page shows.

Where an answer is meant to be another one now, `scripts/docs --answers` records it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

import headwater
from docs.queries.asking import Place, by_curl, load
from docs.queries.example import Question
from docs.queries.page import ANSWERS, FOLDER
from docs.queries.registry import examples
from headwater.cli import app
from headwater.client.client import Client
from headwater.client.http import Deleted
from tests.stack import RunningStack

RECORDED = json.loads(ANSWERS.read_text())


@pytest.fixture(scope="module")
def place(stack: RunningStack) -> Place:
    """A project that has the example events, and nothing else."""
    project = json.loads(stack.run("project", "create", "queries page", "--json").stdout)
    keys = {name: project[name] for name in ("write_key", "read_key", "master_key")}
    made = Place(stack.status["url"], project["id"], **keys, data_dir=stack.data_dir)
    load(made)
    return made


@pytest.fixture(scope="module")
def hw(place: Place) -> Iterator[Client]:
    with headwater.connect(place.url, place.project_id, master_key=place.master_key) as client:
        yield client


def by_command(question: Question, place: Place) -> Any:
    """The answer to the page's command, run in this process."""
    words = subprocess.run(  # as a shell reads it
        ["sh", "-c", f"printf '%s\\0' {question.command()}"], check=True, capture_output=True, text=True
    ).stdout.split("\0")[1:-1]
    done = CliRunner().invoke(app, [*words, "--format", "json"], env=place.environment)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_every_example_answers_as_the_page_says(place: Place, hw: Client) -> None:
    """One after another: the last ones delete."""
    names = []
    for example in examples():
        names.append(example.name)
        recorded = RECORDED[example.name]
        if isinstance(example, Question):
            assert eval(example.python(), {"hw": hw}).value == recorded, example.name
            assert by_command(example, place) == recorded, example.name
        elif example.python:
            done = eval(example.python, {"hw": hw})
            assert isinstance(done, Deleted)
            assert done.done
        assert by_curl(example, place) == recorded, example.name
    assert names == list(RECORDED)


def test_the_lines_that_find_the_stack_find_it(stack: RunningStack) -> None:
    (line,) = re.findall(r"^eval .*$", (FOLDER / "template.md").read_text(), re.MULTILINE)
    command = f'headwater() {{ "{sys.executable}" -m headwater.cli "$@" --data-dir "{stack.data_dir}"; }}'
    shown = subprocess.run(
        ["sh", "-c", f'{command}\n{line}\necho "$P $R $M"'], check=True, capture_output=True, text=True
    )
    root = f"{stack.status['url']}/3.0/projects/{stack.status['project_id']}"
    assert shown.stdout.split() == [root, stack.status["read_key"], stack.status["master_key"]]
