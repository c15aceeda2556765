"""When a service stops rather than give up everything: against a plain model, and the cases that it is made for."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.dead_letters.limit import FEW, HEARD_SECONDS, HOLD_SECONDS, STRETCH, Limit, LimitReachedError

RATIO, RUN = 0.5, 30
COUNTS = st.dictionaries(st.sampled_from([None, "a", "b"]), st.integers(1, 700), max_size=2)
BATCH = st.tuples(
    COUNTS.map(lambda counts: {p: n for p, n in counts.items() if p}), COUNTS, st.sampled_from([0, 1, 400])
)
Batch = tuple[dict[str | None, int], dict[str | None, int], int]


class Model:
    """Remembers every batch and looks at all of them each time."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def of(self, project: str | None) -> list[tuple[int, int, int]]:
        """What came through, what failed and when, of one project; of what has none from its first failure on."""
        found = []
        for good, bad, at in self.batches:
            if project is None and not found and None not in bad:
                continue
            ours = sum(good.values()) if project is None else good.get(project, 0)
            if project is None or project in good or project in bad:
                found.append((ours, bad.get(project, 0), at))
        return found

    def run(self, project: str | None) -> int:
        run = 0
        for good, bad, _ in self.of(project):
            run = 0 if good else run + bad
        return run

    def ratio(self, project: str | None) -> float:
        stretches: list[list[int]] = [[0, 0]]
        for good, bad, _ in self.of(project):
            stretches[-1][0] += good
            stretches[-1][1] += bad
            if sum(stretches[-1]) >= STRETCH:
                stretches.append([0, 0])
        good, bad = (sum(counts) for counts in zip(*stretches[-2:], strict=True))
        return bad / (good + bad) if good + bad >= STRETCH else 0.0

    def works(self, now: int) -> bool:
        return any(
            any(good and now - at <= HEARD_SECONDS for good, _, at in self.of(project))
            and self.run(project) <= FEW
            and self.ratio(project) <= RATIO
            for project in "ab"
        )

    def stops(self, now: int) -> bool:
        failing = [p for p in ("a", "b", None) if self.run(p) >= RUN or self.ratio(p) > RATIO]
        return bool(self.batches[-1][1]) and (None in failing or (bool(failing) and not self.works(now)))


@given(st.lists(BATCH, max_size=20))
def test_it_stops_when_the_model_does(batches: list[Batch]) -> None:
    limit, model = Limit(RATIO, RUN), Model()
    times = list(accumulate(seconds for _, _, seconds in batches))
    for (good, bad, _), now in zip(batches, times, strict=True):
        model.batches.append((good, bad, now))
        if model.stops(now):
            with pytest.raises(LimitReachedError):
                limit.add(good, bad, now)
            assert limit.reached
            return
        limit.add(good, bad, now)
        assert not limit.reached


def test_a_few_poison_records_stop_nothing() -> None:
    limit = Limit(RATIO, RUN)
    for second in range(1_000):
        limit.add({"a": 100}, {"a": 3}, second)
    for second in range(RUN - 1):
        limit.add({}, {"a": 1}, 1_000 + second)


def test_what_fails_always_stops_the_service_when_the_run_is_long_enough() -> None:
    limit = Limit(RATIO, RUN)
    limit.add({"a": 5_000}, {}, 0)
    for _ in range(RUN - 1):
        limit.add({}, {"a": 1}, 1)
    with pytest.raises(LimitReachedError, match=f"{RUN} records in a row.*HEADWATER_DEAD_LETTER_MAX_RUN is {RUN}"):
        limit.add({}, {"a": 1}, 1)
    with pytest.raises(LimitReachedError):
        limit.add({"a": 1}, {}, 2)


def test_what_mostly_fails_stops_it_by_the_ratio() -> None:
    limit = Limit(RATIO, RUN)
    for second in range(STRETCH // 3):
        limit.add({"a": 1}, {"a": 2}, second)
    with pytest.raises(LimitReachedError, match=r"67% of .*HEADWATER_DEAD_LETTER_MAX_RATIO is 0\.5"):
        limit.add({"a": 1}, {"a": 2}, STRETCH)


def test_one_project_does_not_stop_the_others() -> None:
    """Until nothing has come through of any other for a while."""
    limit = Limit(RATIO, RUN)
    limit.add({"b": 1}, {}, 0)
    for second in range(int(HEARD_SECONDS)):
        limit.add({}, {"a": 1_000}, second)
        assert not limit.holds(second)
    with pytest.raises(LimitReachedError):
        limit.add({}, {"a": 1}, HEARD_SECONDS + 1)


def test_an_unknown_schema_is_nobodys_and_stops_it_all_the_same() -> None:
    limit = Limit(RATIO, RUN)
    limit.add({"b": 1}, {}, 0)
    with pytest.raises(LimitReachedError):
        limit.add({}, {None: RUN}, 1)


def test_each_limit_can_be_switched_off() -> None:
    limit = Limit(1.0, 0)
    for second in range(5):
        limit.add({}, {"a": 10_000}, second)
        assert not limit.holds(second)


def test_failures_at_the_beginning_are_held_until_it_is_known_what_they_are() -> None:
    limit = Limit(RATIO, RUN)
    limit.add({}, {"a": 1}, 0)
    assert limit.holds(0)
    assert limit.holds(HOLD_SECONDS - 1)
    assert not limit.holds(HOLD_SECONDS)
    assert limit.holds(HOLD_SECONDS + 1), "those that came since"
    limit.add({"a": 1}, {}, HOLD_SECONDS + 2)
    assert not limit.holds(HOLD_SECONDS + 2)
