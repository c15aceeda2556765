"""`headwater doctor` and `headwater trace` on a whole stack, as its operator runs them."""

import json
import uuid
from typing import Any

from tests.stack import RunningStack
from tests.waiting import wait_until

HOPS = ("answered after", "in the raw topic after", "in the collection's topic after", "visible by query after")


def test_a_healthy_stack_is_told_so(stack: RunningStack) -> None:
    said = json.loads(stack.run("doctor", "--json", "--wait", "60").stdout)
    checks = {check["name"]: check for check in said["checks"]}
    assert said["healthy"], said
    assert all(hop in checks["test event"]["said"] for hop in HOPS)
    named = {
        "Kafka",
        "ClickHouse",
        "topics",
        "schemas",
        "group headwater.processors",
        "group headwater.sink",
        "lag of sinks",
    }
    clocks = {f"clock of {name}" for name in ("Kafka", "ClickHouse", "the collector", "the processor")}
    services = {f"service {name}" for name in stack.status["services"] if name not in ("kafka", "clickhouse")}
    assert named | clocks | services | {"versions of services", "dead letters"} <= checks.keys()
    assert "all 3 run" in checks["versions of services"]["said"]


def test_people_are_told_what_to_do(stack: RunningStack) -> None:
    said = stack.run("doctor", "--no-test-event", "--service", "sink-9=http://127.0.0.1:1", code=1).stdout
    assert "FAILED   service sink-9: does not answer" in said
    assert "Something is wrong." in said
    assert "\n1. service sink-9: start it" in said
    assert "test event: not sent: --no-test-event" in said


def test_an_event_is_followed_to_the_answers(stack: RunningStack) -> None:
    token = f"order {uuid.uuid4()}"
    with stack.client() as hw:
        hw.add_event("traced", {"item": "lamp", "keen": {"uniqueness_token": token}})
        hw.flush()

        def visible() -> dict[str, Any] | None:
            found: dict[str, Any] = json.loads(stack.run("trace", token, "--json").stdout)
            return found if found["verdict"] == "visible" else None

        found = wait_until(visible, 60)
    assert found is not None
    assert [row["collection"] for row in found["rows"]] == ["traced"]
    assert [raw["processed"] for raw in found["raw"]] == [True]
    assert "visible    in answers" in stack.run("trace", found["id"]).stdout
    assert "It is nowhere" in stack.run("trace", "another", code=3).stdout
