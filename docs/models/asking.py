"""The example events of the models sent to a project as their senders send them, and what can then be asked of it."""

import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

from docs.models.model import Collection, Model
from docs.models.registry import MODELS
from docs.queries.example import Question
from headwater.client.client import Client

VISIBLE_SECONDS = 60.0


def load(url: str, hw: Client, project_id: str, write_key: str) -> None:
    """Send all example events to the collector at `url`, and wait until `hw` has them in answers. Raises TimeoutError."""
    with httpx.Client(base_url=url, params={"api_key": write_key}, timeout=30) as http:
        for model in MODELS:
            for one in model.deliveries():
                path = one.path.format(project_id=project_id)
                http.post(path, json=one.body, headers=dict(one.headers)).raise_for_status()
    expected = {name: count for model in MODELS for name, count in model.counts().items()}
    deadline = time.monotonic() + VISIBLE_SECONDS
    while missing := {name: count for name, count in expected.items() if hw.count(name).value != count}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"These example events were sent, and are not in answers: {missing}")
        time.sleep(0.1)


def recorded(hw: Client) -> dict[str, dict[str, Any]]:
    """What is recorded: `answers` by the questions' names, `examples` by the collections'."""
    return {
        "answers": {question.name: answer(hw, question) for model in MODELS for question in model.questions},
        "examples": {
            collection.name: examples(hw, model, collection) for model in MODELS for collection in model.collections
        },
    }


def answer(hw: Client, question: Question) -> Any:
    """What the engine answers to a question, asked by the page's own line of Python."""
    return eval(question.python(), {"hw": hw}).value  # noqa: S307 - written by us


def examples(hw: Client, model: Model, collection: Collection) -> dict[str, Any]:
    """A value of each declared property, of the first event that has one, as events are stored."""
    events = hw.extraction(collection.name).value
    events.sort(key=lambda event: (event["keen"].pop("timestamp"), json.dumps(_without_keen(event), sort_keys=True)))
    found: dict[str, Any] = {}
    for path in (one.path for one in (*model.shared, *collection.properties)):
        values = [value for event in events if (value := _at(event, path)) is not None]
        if not values:
            raise ValueError(f"{collection.name}: no example event has {path}")
        found[path] = values[0]
    return found


def _without_keen(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "keen"}


def _at(event: Mapping[str, Any], path: str) -> Any:
    value: Any = event
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
