"""The soak's ledger and its quarters."""

import orjson
import pytest

from benchmarks.soak import BATCH, Ledger, Seen, _batch, _quarters


def test_the_ledger_adds_up_what_the_batches_hold() -> None:
    ledger = Ledger()
    batches = [[orjson.loads(event) for event in _batch([b'{"a":1}', b'{"b":2}'], n, probe=n == 1)] for n in range(3)]
    for number in range(3):
        ledger.add(number, probe=number == 1)
    events = [event for batch in batches for event in batch]
    assert ledger.events == len(events) == 3 * BATCH
    assert ledger.numbers == sum(event["number"] for event in events)
    assert len({event["number"] for event in events}) == len(events)
    assert [event["probe"] for event in events if "probe" in event] == list(ledger.probes) == [1]


def test_quarters_have_their_own_answers_only() -> None:
    ledger, seen = Ledger(), Seen()
    for batch in range(16):
        at = 100.0 + batch / 2  # two seconds a quarter
        ledger.answered.append(at)
        ledger.probes[batch] = at
        seen.probes[batch] = at + (1 if batch < 12 else 3)
        seen.services.append((at, {"sink MB": 100.0 + batch // 4, "sink CPU s": batch * 0.01}))
    first, *_, last = _quarters(100.0, 8.0, ledger, seen)
    assert first == pytest.approx(
        {"value": 2 * BATCH, "p50 s": 1.0, "p99 s": 1.0, "sink MB": 100.0, "sink CPU µs/event": 100.0}
    )
    assert last == pytest.approx(
        {"value": 2 * BATCH, "p50 s": 3.0, "p99 s": 3.0, "sink MB": 103.0, "sink CPU µs/event": 100.0}
    )
