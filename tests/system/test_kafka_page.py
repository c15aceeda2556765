"""The examples of docs/kafka.md, run as they stand there, against a whole stack."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka.cimpl import NewTopic

from headwater.client.questions import Timeframe
from headwater.kafka import create_topics
from headwater.settings import load_settings
from headwater.topics import in_topic
from tests.stack import RunningStack, environment
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = "## Reading: "


def examples(page: str, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall(page) if name == language]


def run(stack: RunningStack, *command: str) -> str:
    own = {"KAFKA": stack.status["kafka"], "PROJECT": stack.status["project_id"]}
    done = subprocess.run(
        command, cwd=ROOT, env=environment() | own, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def page() -> str:
    return (ROOT / "docs" / "kafka.md").read_text()


def test_what_the_page_writes_is_found_and_read(stack: RunningStack, page: str) -> None:
    writing, reading = page.split(HEADING)
    for example in examples(writing, "python"):
        run(stack, sys.executable, "-W", "error", "-c", example)
    with stack.client() as hw:
        wait_until(lambda: [hw.count(name).value for name in ("parcels", "receipts")] == [200, 100], LIMIT, 0.2)
        for name, total in (("parcels", 200), ("receipts", 100)):
            assert hw.sum(name, target_property="number").value == sum(range(total))
        at_noon: Timeframe = {"start": "2026-02-01T12:00:00Z", "end": "2026-02-01T12:00:01Z"}
        assert hw.count("parcels", timeframe=at_noon).value == 100  # those with headers
    (example,) = examples(reading, "python")
    assert run(stack, sys.executable, "-c", example) == "200 parcels\n"


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
def test_kcat(stack: RunningStack, page: str) -> None:
    (example,) = examples(page, "sh")
    topic = in_topic("headwater", stack.status["project_id"], "parcels")
    create_topics(load_settings(kafka=stack.status["kafka"]), [NewTopic(topic, 3, 1)])
    run(stack, "sh", "-c", example)
    with stack.client() as hw:
        filters = [{"property_name": "number", "operator": "eq", "property_value": 200}]
        wait_until(lambda: hw.count("parcels", filters=filters).value == 1, LIMIT, 0.2)
