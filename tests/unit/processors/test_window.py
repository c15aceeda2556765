"""The window of history that is under way to sinks, against a model of the topics between processors and sinks."""

from hypothesis import given
from hypothesis import strategies as st

from processors.window import Window

TOPICS = ("a", "b")
PLACES = tuple((topic, partition) for topic in TOPICS for partition in range(2))


class Way:
    """Topics with two partitions each. Of each queued event it is known how many events of history were put out up to it, 0 for a
    live one."""

    def __init__(self, size: int) -> None:
        self.window = Window(size)
        self.queued: list[tuple[tuple[str, int], int]] = []  # put out, and not yet acknowledged
        self.log: dict[tuple[str, int], list[int]] = {place: [] for place in PLACES}
        self.committed: dict[tuple[str, int], int] = {}

    def put_out(self, where: list[int]) -> None:
        places = [PLACES[number] for number in where][: self.window.room]
        for place in places:
            self.window.add({place[0]: 1})
            self.queued.append((place, self.window.put_out))

    def live(self, where: int) -> None:
        self.log[PLACES[where]].append(0)

    def flush(self) -> None:
        cut = self.window.put_out
        for place, number in self.queued:
            self.log[place].append(number)
        self.queued.clear()
        self.window.settled(cut)

    def some_arrive(self, count: int) -> None:
        """Before the flush is over, some are in Kafka already."""
        for place, number in self.queued[:count]:
            self.log[place].append(number)
        del self.queued[:count]

    def store(self, where: int, count: int) -> None:
        place = PLACES[where]
        before = self.committed.get(place, 0)
        self.committed[place] = min(len(self.log[place]), before + count)

    def ask(self) -> None:
        asked = {place for place in PLACES if place[0] in self.window.topics}
        ends = {place: len(self.log[place]) for place in asked}
        # A group that has committed nothing has a negative offset.
        self.window.asked(self.window.durable, ends, {place: self.committed.get(place, -1001) for place in asked}, 0.0)

    @property
    def missing(self) -> set[int]:
        """The numbers of the events of history that are not stored."""
        waiting = (number for place in PLACES for number in self.log[place][self.committed.get(place, 0) :])
        return {number for number in (*waiting, *(number for _, number in self.queued)) if number}


numbers = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("put_out"), st.lists(numbers, max_size=8)),
    st.tuples(st.just("live"), numbers),
    st.tuples(st.just("flush")),
    st.tuples(st.just("some_arrive"), st.integers(0, 4)),
    st.tuples(st.just("store"), numbers, st.integers(1, 6)),
    st.tuples(st.just("ask")),
)


@given(st.integers(1, 12), st.lists(steps, max_size=60))
def test_the_window_holds_and_opens_again(size: int, run: list[tuple[object, ...]]) -> None:
    way = Way(size)
    for name, *arguments in run:
        getattr(way, str(name))(*arguments)
        assert len(way.missing) <= size
        assert all(number > way.window.stored for number in way.missing)  # nothing is taken for stored that is not
    way.flush()
    for place in range(len(PLACES)):
        way.store(place, 1_000)
    way.ask()
    assert way.window.is_empty
    assert way.window.room == size
    assert not way.window.topics


def test_live_events_behind_history_do_not_keep_the_window_closed() -> None:
    way = Way(2)
    way.put_out([0, 0])
    way.flush()
    way.ask()
    way.live(0)
    way.store(0, 2)
    way.ask()
    assert way.window.room == 2


def test_a_topic_that_is_deleted_keeps_nothing_under_way() -> None:
    window = Window(5)
    window.add({"a": 5})
    window.settled(5)
    window.asked(5, {("a", 0): 5}, {}, 0.0)
    assert window.room == 0
    window.asked(5, {}, {}, 0.0)
    assert window.room == 5


def test_what_is_processed_again_counts_again() -> None:
    """After an undo the same records are put out a second time; the first may or may not have come to the topic."""
    window = Window(10)
    window.add({"a": 4})
    window.add({"a": 4})
    assert window.room == 2
    window.settled(8)
    window.asked(8, {("a", 0): 4}, {("a", 0): 4}, 0.0)
    assert window.is_empty


def test_history_comes_in_bursts_of_half_the_window() -> None:
    window = Window(10)
    window.add({"a": 10})
    window.settled(10)
    window.asked(4, {("a", 0): 4}, {}, 1.0)
    window.asked(10, {("a", 0): 10}, {("a", 0): 4}, 2.0)
    assert (window.room, window.opens) == (4, False)
    window.asked(10, {("a", 0): 10}, {("a", 0): 10}, 3.0)
    assert window.opens


def test_how_long_sinks_take_is_told() -> None:
    window = Window(10)
    window.add({"a": 5})
    window.settled(5)
    assert window.asked(5, {("a", 0): 5}, {}, 1.0) == 0.0
    assert window.asked(5, {("a", 0): 5}, {}, 4.0) == 3.0, "it waits still"
    window.add({"a": 5})
    window.settled(10)
    assert window.asked(10, {("a", 0): 10}, {("a", 0): 5}, 5.0) == 4.0
    assert window.asked(10, {("a", 0): 10}, {("a", 0): 10}, 7.0) == 2.0
    assert window.asked(10, {}, {}, 9.0) == 0.0
