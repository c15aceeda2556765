"""docs/data-models.md says what is so: its example events go through the collector, and its questions have the answers that it shows.

Where an answer is meant to be another one now, `scripts/docs --answers` records it.
"""

import json
from collections.abc import Iterator

import pytest

import headwater
from docs.models.asking import load, recorded
from docs.models.model import Model
from docs.models.page import RECORDED
from docs.models.registry import MODELS
from headwater.client.client import Client
from headwater.query import QueryError
from tests.stack import RunningStack
from tests.waiting import wait_until

OWN = {"keen.id", "keen.timestamp", "keen.created_at"}


@pytest.fixture(scope="module")
def hw(stack: RunningStack) -> Iterator[Client]:
    """A client of a project that has the models' example events."""
    project = json.loads(stack.run("project", "create", "models", "--json").stdout)
    with headwater.connect(stack.status["url"], project["id"], read_key=project["read_key"]) as client:
        load(stack.status["url"], client, project["id"], project["write_key"])
        yield client


def test_every_question_has_the_answer_that_the_page_shows(hw: Client) -> None:
    assert recorded(hw) == json.loads(RECORDED.read_text())


def schema(hw: Client, collection: str) -> dict[str, str]:
    """The types of a collection's properties; they come a moment after its first events are in answers."""
    try:
        return hw.schema(collection)
    except QueryError as error:
        if error.status != 404:
            raise
        return {}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_events_have_the_properties_that_the_model_declares(hw: Client, model: Model) -> None:
    """With these types; of a model that is our own all that are sent, beside those of the add-ons."""
    assert len(model.questions) >= 5
    for collection in model.collections:
        declared = {one.path: one.type for one in (*model.shared, *collection.properties)}
        wait_until(lambda declared=declared, name=collection.name: declared.items() <= schema(hw, name).items(), 30)
        if model.complete:
            made = ("client.", "geo.", "page.parsed.")
            others = hw.schema(collection.name).keys() - declared.keys() - OWN
            assert {path for path in others if not path.startswith(made)} <= {"user_agent"}
