"""`headwater replay` on a whole stack, when people in the data had theirs deleted before."""

import re

from tests.local_http import HTTP
from tests.stack import RunningStack
from tests.waiting import wait_until

EVENTS = 30
USERS = 3
COVERED = re.compile(r"^headwater_sink_covered_records_total (\S+)$", re.MULTILINE)


def covered(stack: RunningStack) -> float:
    """To how many records that the sink stores deletions apply."""
    url = f"http://127.0.0.1:{stack.status['services']['sink']['port']}/metrics"
    found = COVERED.search(HTTP.get(url).text)
    assert found
    return float(found[1])


def test_what_was_deleted_is_not_processed_into_answers_again(stack: RunningStack) -> None:
    table = f"`{stack.status['database']}`.people"

    def stored(what: str) -> str:
        answer = HTTP.post(stack.status["clickhouse"], content=f"SELECT {what} FROM {table}")
        assert answer.status_code == 200, answer.text
        return answer.text.strip()

    of_user = {"property_name": "user.id", "operator": "eq", "property_value": 1}
    with stack.client() as hw:
        for number in range(EVENTS):
            hw.add_event("people", {"n": number, "user": {"id": number % USERS}, "email": f"{number}@example.com"})
        hw.flush()
        wait_until(lambda: hw.count("people").value == EVENTS, 60, 0.2)
        assert hw.delete_events("people", filters=[of_user]).done
        assert hw.delete_property("people", "email").done
        left = [number for number in range(EVENTS) if number % USERS != 1]
        assert hw.count("people").value == len(left)
        before, newest = covered(stack), stored("max(processed_at)")

        printed = stack.run("replay", "--from", "1h", "--collection", "people").stdout
        assert f"{EVENTS} events will be processed again." in printed
        wait_until(lambda: covered(stack) == before + EVENTS, 60, 0.2)

        # All others have new rows: they are counted as covered when they are about to be inserted.
        wait_until(lambda: stored(f"uniqExactIf(id, processed_at > '{newest}')") == str(len(left)), 60, 0.2)
        assert hw.count("people").value == len(left)
        assert sorted(hw.select_unique("people", "n").value) == left
        assert stored("countIf(properties.user.id.:Int64 = 1 OR properties.email.:String IS NOT NULL)") == "0"
        assert stack.run("replay", "--from", "1h", "--collection", "nobodys").stdout.startswith("0 events")
