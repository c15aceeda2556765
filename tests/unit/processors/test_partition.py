"""The rules of a partition, driven through any interleaving of what can happen to it, against a model of Kafka."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.aggregates import parse_key
from headwater.codec import codec
from processors.id_window import ID_BYTES
from processors.partition import Progress, Verdict
from processors.repetitions import Repetitions
from tests.state_in_memory import MemoryTable, state_over

PROJECT = "a1" * 12
NAMES = ("x", "y", "z")


def id_of(offset: int) -> bytes:
    """What the record's event is called: a third of them are as one before them."""
    return str(offset - 2 if offset % 3 == 2 else offset).encode()


def not_repeated(offsets: list[int]) -> list[int]:
    return [offset for at, offset in enumerate(offsets) if id_of(offset) not in map(id_of, offsets[:at])]


class Fence:
    """The state topic of one partition, with its fence: what only the newest of its writers can change."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes | None] = {}
        self.epoch = 0

    def write(self, epoch: int, changes: dict[bytes, bytes | None]) -> bool:
        if epoch != self.epoch:
            return False
        self.values.update(changes)
        return True

    def recovered(self) -> MemoryTable:
        table = MemoryTable()
        table.apply(self.values)
        return table


class Processor:
    """A worker as `processors.worker` drives the rules, over a local store and an input that may lose anything."""

    def __init__(self, fence: Fence, log: list[int], outputs: Counter[int]) -> None:
        self.fence, self.log, self.outputs = fence, log, outputs
        self.seeks = 0
        self.position = 0, 0  # the seek that the consumer follows, and where it reads next
        self.queue: list[tuple[int, int, list[int]]] = []  # blocks under way: seek, start, offsets
        self.settling: dict[bytes, bytes | None] | None = None
        self.take()

    def take(self) -> None:
        """Fence, recover, read on behind the watermark."""
        self.fence.epoch += 1
        self.epoch = self.fence.epoch
        self.local = self.fence.recovered()
        self.state = state_over(self.local)
        start = self.state.watermark() + 1
        self.settling = None
        self.seeks += 1
        self.progress = Progress(start, start, self.seeks)
        self.position = self.seeks, start

    def fetch(self, most: int) -> None:
        """The consumer reads on: what it drains begins where it stood."""
        seek, start = self.position
        offsets = [offset for offset in self.log if offset >= start][:most]
        if offsets:
            self.queue.append((seek, start, offsets))
            self.position = seek, offsets[-1] + 1

    def process(self, index: int) -> None:
        """A block reaches the agent; any of them, since Faust may drop the ones before."""
        seek, start, offsets = self.queue[index]
        del self.queue[: index + 1]
        match self.progress.judge(seek, start, offsets[-1] + 1):
            case Verdict.TAKE:
                repetitions = Repetitions(self.state.ids, 0)
                fresh = []
                for offset in offsets:
                    if offset >= self.progress.next and not repetitions.has(id_of(offset).zfill(ID_BYTES)):
                        repetitions.learn(id_of(offset).zfill(ID_BYTES))
                        fresh.append(offset)
                for name in NAMES:
                    mine = [offset for offset in fresh if NAMES[offset % len(NAMES)] == name]
                    if mine:
                        aggregates, _ = self.state.change(PROJECT, name)
                        aggregates.add([0] * len(mine), [0] * len(mine), [o * o + 1 for o in mine], mine[-1], 0)
                repetitions.keep()
                self.outputs.update(fresh)
                self.progress.advance(offsets[-1] + 1)
            case Verdict.REWIND:
                self.read_from_next()

    def read_from_next(self) -> None:
        self.seeks += 1
        self.progress.sought(self.seeks)
        self.position = self.seeks, self.progress.next

    def read_again_what_never_came(self) -> None:
        """All blocks under way were lost, and no record follows that would show it."""
        if not self.queue and self.progress.is_behind(self.position[1]):
            self.read_from_next()

    def begin_settle(self) -> None:
        cut = self.progress.begin_settle()
        if cut is not None:
            self.settling = self.state.changes(cut - 1, 0)

    def undo(self) -> None:
        """Output failed: nothing of the settle was written."""
        self.settling = None
        self.progress.settle_undone()
        self.state.undo()
        self.read_from_next()

    def commit(self, *, answered: bool) -> None:
        """The transaction reaches the broker, and the answer reaches the worker or not."""
        assert self.settling is not None
        changes, self.settling = self.settling, None
        committed = self.fence.write(self.epoch, changes)
        if committed and answered:
            self.local.apply(changes)
            self.progress.settle_done()
            self.state.trim()
        else:
            self.take()  # also right after a fence, once the group has said that the partition is ours


FAULTS = (
    "lose one",  # a block, as Faust does in a rebalance
    "lose all",
    "repeat",  # blocks are delivered again
    "output fails",
    "answer lost",  # of a transaction
    "take",  # the partition goes to this worker, who has state in memory and blocks under way
    "crash",  # and start anew
)
WORK = (
    "fetch",
    "fetch one",
    "process",
    "fetch, process",
    "fetch one, fetch, lose one",
    "settle, commit",
    "settle, fetch, process, commit",
    "settle, output fails, fetch, process",
)
Step = tuple[int, str]
steps = st.lists(
    st.tuples(st.sampled_from((0, 0, 0, 1)), st.sampled_from(WORK * 4 + FAULTS)), min_size=40, max_size=120
)
logs = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=3, max_size=8
)  # offsets without, with records


def run(step: Step, workers: list[Processor]) -> None:
    which, actions = step
    for action in actions.split(", "):
        act(which, action, workers)


def act(which: int, action: str, workers: list[Processor]) -> None:
    worker = workers[which]
    match action:
        case "fetch":
            worker.fetch(3)
        case "fetch one":
            worker.fetch(1)
        case "process" if worker.queue:
            worker.process(0)
        case "lose one" if len(worker.queue) > 1:
            worker.process(1)
        case "lose all":
            worker.queue.clear()
        case "repeat":
            worker.queue[:] = worker.queue[:2] * 2 + worker.queue[2:]
        case "settle":
            worker.begin_settle()
        case "commit" | "answer lost" if worker.settling:
            worker.commit(answered=action == "commit")
        case "output fails" if worker.settling:
            worker.undo()
        case "take":
            worker.take()
        case "crash":
            workers[which] = Processor(worker.fence, worker.log, worker.outputs)


@settings(max_examples=150, deadline=None)
@given(logs, steps)
def test_no_record_is_skipped_none_is_counted_twice_and_there_is_always_progress(
    runs: list[tuple[int, int]], steps: list[Step]
) -> None:
    log: list[int] = []
    end = 0
    for gap, count in runs:  # offsets may hold no record: markers of transactions, aborted ones, compaction
        log += range(end + gap, end + gap + count)
        end += gap + count
    fence, outputs = Fence(), Counter[int]()
    workers = [Processor(fence, log, outputs) for _ in range(2)]
    for step in steps:
        run(step, workers)
        check(fence, log, outputs)
    # Once things calm down, one of them finishes, blocks of before still under way.
    worker = workers[0]
    if worker.settling:
        worker.commit(answered=True)
    if worker.epoch != fence.epoch:
        worker.take()
    worker.read_again_what_never_came()
    for _ in range(len(log) + 3):
        worker.fetch(3)
        while worker.queue:
            worker.process(0)
    worker.begin_settle()
    if worker.settling:
        worker.commit(answered=True)
    assert watermark(fence) == log[-1]
    check(fence, log, outputs)


def watermark(fence: Fence) -> int:
    return state_over(fence.recovered()).watermark()


def check(fence: Fence, log: list[int], outputs: Counter[int]) -> None:
    """Exactly the records up to the watermark are counted, each once (as the sum shows too) unless it was there before, and
    all of them are out."""
    state = state_over(fence.recovered())
    settled = state.watermark()
    done = not_repeated([offset for offset in log if offset <= settled])
    for name in NAMES:
        mine = [offset for offset in done if NAMES[offset % len(NAMES)] == name]
        aggregates, _ = state.change(PROJECT, name)
        assert aggregates.events == len(mine)
        assert aggregates.size == sum(offset * offset + 1 for offset in mine)
        assert aggregates.offset == (mine[-1] if mine else -1)
    assert all(outputs[offset] for offset in done)
    assert outputs.keys() <= {*not_repeated(log)}
    for key, value in fence.values.items():
        if value is not None and parse_key(key).kind == "catalogue":
            assert codec("catalogue").decode(value)["offset"] == -1
