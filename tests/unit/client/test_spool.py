"""The spool against a model: whatever was added and not answered is there again, in order, wherever the writing stopped."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater
from headwater.client.errors import ConnectError, FailedEvent, QueueFullError
from headwater.client.event import Event
from headwater.client.queue import Batch
from headwater.client.spool import Spool
from headwater.client.writer import BatchingWriter

PROJECT = "a" * 24
BOUND = 4_000  # files of 250 bytes: some events each

STEPS = st.lists(
    st.tuples(st.just("put"), st.integers(0, 300))
    | st.tuples(st.just("take"), st.integers(1, 4))
    | st.tuples(st.just("answer"), st.integers(0, 3))
    | st.tuples(st.just("reopen"), st.just(0)),
    max_size=40,
)


def event(number: int, size: int = 10) -> Event:
    return Event("visits ü"[: 1 + number % 8], f"id-{number}", bytes([number % 256]) * size)


def everything(spool: Spool) -> list[Event]:
    events: list[Event] = []
    while spool.waiting:
        events += spool.take(3, 400).events
    return events


class Model:
    """What a spool must hold, and when each step of it was on the disk: the last file, and its size then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.added: list[tuple[Event, tuple[str, int]]] = []
        self.answered: list[tuple[str, tuple[str, int]]] = []
        self.number = 0

    def reopened(self) -> None:
        if not [*self.folder.glob("*.spool")]:  # names of files begin again
            assert self.left() == []
            self.added, self.answered = [], []

    def mark(self) -> tuple[str, int]:
        files = sorted(self.folder.glob("*.spool"))
        return (files[-1].name, files[-1].stat().st_size) if files else ("", 0)

    def left(self, crash: tuple[str, int] | None = None) -> list[Event]:
        """What is left, where nothing behind `crash` was written. An event whose answer was not is left unless its file was deleted."""
        files = {path.name for path in self.folder.glob("*.spool")}
        deleted = {one.id for one, (name, _) in self.added if name not in files}
        assert deleted <= {identity for identity, _ in self.answered}
        gone = deleted | {identity for identity, mark in self.answered if crash is None or mark <= crash}
        return [one for one, mark in self.added if (crash is None or mark <= crash) and one.id not in gone]


@given(STEPS, st.floats(0, 1), st.binary(max_size=30))
@settings(deadline=None, max_examples=150)
def test_a_spool_holds_what_was_added_and_not_answered_wherever_it_crashes(
    steps: list[tuple[str, int]], cut: float, garbage: bytes
) -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "spool")
        spool, model = Spool(folder, PROJECT, BOUND), Model(folder)
        taken: list[Batch] = []
        for step, argument in steps:
            if step == "put":
                one = event(model.number, argument)
                if spool.put(one):
                    model.number += 1
                    model.added.append((one, model.mark()))
                else:
                    assert model.left(), "only what is unanswered may fill it"
            elif step == "take" and spool.waiting:
                batch = spool.take(argument, 400)
                assert 1 <= len(batch.events) <= argument
                assert len(batch.events) == 1 or sum(len(one.payload) for one in batch.events) <= 400
                taken.append(batch)
            elif step == "answer" and taken:
                batch = taken.pop(argument % len(taken))
                spool.answered(batch)
                model.answered += [(one.id, model.mark()) for one in batch.events]
            elif step == "reopen":
                spool.close()
                spool, taken = Spool(folder, PROJECT, BOUND), []
                model.reopened()
            assert spool.waiting + sum(len(batch.events) for batch in taken) == len(model.left())
            assert sum(path.stat().st_size for path in folder.glob("*.spool")) <= BOUND + 60 * len(steps)
        crashed = Path(parent, "crashed")
        shutil.copytree(folder, crashed)
        name, size = model.mark()
        if name:
            kept = int(size * cut)
            os.truncate(crashed / name, kept)
            with (crashed / name).open("ab") as file:
                file.write(garbage)
            name, size = name, kept
        again = Spool(crashed, PROJECT, BOUND)
        assert everything(again) == model.left((name, size))
        again.close()
        spool.close()
        whole = Spool(folder, PROJECT, BOUND)
        assert everything(whole) == model.left()
        whole.close()


def test_what_follows_a_crash_is_kept_too(tmp_path: Path) -> None:
    spool = Spool(tmp_path, PROJECT, BOUND)
    for number in range(3):
        assert spool.put(event(number))
    spool.forget()  # as the kernel does for one that is killed
    (last,) = tmp_path.glob("*.spool")
    os.truncate(last, last.stat().st_size - 1)
    second = Spool(tmp_path, PROJECT, BOUND)
    second.answered(second.take(1, 400))
    assert second.put(event(7))
    second.close()
    third = Spool(tmp_path, PROJECT, BOUND)
    assert [one.id for one in everything(third)] == ["id-1", "id-7"]
    third.close()


def test_a_damaged_file_costs_its_own_events_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, PROJECT, BOUND)
    for number in range(12):
        assert spool.put(event(number, 100))
    first, *_ = sorted(tmp_path.glob("*.spool"))
    damaged = bytearray(first.read_bytes())
    damaged[40] ^= 1
    first.write_bytes(damaged)
    assert [one.id for one in everything(spool)] == [f"id-{number}" for number in range(1, 12)]
    assert "1 events in it are lost" in caplog.text
    spool.close()


def test_a_spool_where_all_is_answered_leaves_no_events_on_the_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "new" / "folder", PROJECT, BOUND)
    for number in range(30):
        assert spool.put(event(number))
        spool.answered(spool.take(10, 400))
    spool.close()
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["lock"]


def test_a_disk_that_is_full_refuses_an_event_and_harms_no_other(tmp_path: Path) -> None:
    spool = Spool(tmp_path, PROJECT, 1_000_000)
    assert spool.put(event(0, 100))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # half of the next event fits
    try:
        with pytest.raises(OSError, match="File too large"):
            spool.put(event(1, 600))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert spool.put(event(2, 100))
    assert [one.id for one in everything(spool)] == ["id-0", "id-2"]
    spool.close()
    again = Spool(tmp_path, PROJECT, 1_000_000)
    assert [one.id for one in everything(again)] == ["id-0", "id-2"]
    again.close()


def test_an_event_larger_than_the_spool_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path, PROJECT, BOUND)
    with pytest.raises(ValueError, match="4,000 bytes"):
        spool.put(event(0, BOUND))
    spool.close()


def test_another_client_and_another_project_are_told_why_not(tmp_path: Path) -> None:
    spool = Spool(tmp_path, PROJECT, BOUND)
    with pytest.raises(ConnectError, match=f"in use by process {os.getpid()}"):
        Spool(tmp_path, PROJECT, BOUND)
    with pytest.raises(ConnectError, match="in use"):
        headwater.connect("http://127.0.0.1:9", PROJECT, write_key="w", spool=tmp_path)
    assert spool.put(event(0))
    spool.close()
    with pytest.raises(ConnectError, match=PROJECT):
        Spool(tmp_path, "b" * 24, BOUND)
    again = Spool(tmp_path, PROJECT, BOUND)
    again.answered(again.take(1, 400))
    again.close()
    Spool(tmp_path, "b" * 24, BOUND).close()
    with pytest.raises(ValueError, match="spool"):
        headwater.connect("http://127.0.0.1:9", PROJECT, transport="kafka", kafka="127.0.0.1:9", spool=tmp_path)


class Away:
    """A server that answers once it is back."""

    def __init__(self) -> None:
        self.back = threading.Event()
        self.got: list[str] = []

    def __call__(self, events: list[Event], stop: threading.Event) -> list[FailedEvent]:
        while not self.back.wait(0.01):
            if stop.is_set():
                return [FailedEvent(e.collection, e.id, "Unreachable", "", False, e.payload) for e in events]
        self.got += [one.id for one in events]
        return []

    def close(self) -> None:
        """Nothing to close."""


def spooling(folder: Path, server: Away, failed: list[FailedEvent]) -> BatchingWriter:
    return BatchingWriter(
        lambda: server, lambda: Spool(folder, PROJECT, BOUND), threads=2, batch_events=5, linger=0.01, when_full="raise",
        on_error=failed.append,
    )  # fmt: skip


def test_what_is_unanswered_at_closing_goes_to_the_next_writer_first(tmp_path: Path) -> None:
    away, failed = Away(), list[FailedEvent]()
    writer = spooling(tmp_path, away, failed)
    count = 20
    for number in range(count):
        writer.add(event(number, 110))
    with pytest.raises(QueueFullError, match=r"spool .* of 4,000 bytes is full"):
        writer.add(event(count, 1_500))
    writer.close(0.05)
    assert (writer.accepted, writer.failed, writer.pending, failed) == (0, 0, count, [])
    away.back.set()
    second = spooling(tmp_path, away, failed)
    second.flush(10)
    assert (second.accepted, failed) == (count, [])
    assert sorted(away.got) == sorted(f"id-{number}" for number in range(count))
    second.add(event(count))
    second.close(10)
    assert away.got[-1] == f"id-{count}"
    assert not list(tmp_path.glob("*.spool"))


def test_a_forked_child_leaves_its_parents_spool_alone_and_does_not_hold_it(tmp_path: Path) -> None:
    # A process has let go of its locks once its children are another's: a pipe of its can be closed before.
    script = f"""
import os, sys, time, headwater
from headwater.client.errors import ConnectError
hw = headwater.connect("http://127.0.0.1:9", "{PROJECT}", write_key="w", spool={str(tmp_path)!r})
hw.add_event("visits", {{"who": "parent"}})
parent = os.getpid()
if not os.fork():
    try:
        hw.add_event("visits", {{}})
    except ConnectError as error:
        print("refused" if "in use by process" in str(error) else error, hw.pending, flush=True)
    while os.getppid() == parent:
        time.sleep(0.01)
    hw.add_event("visits", {{"who": "child"}})
    print(hw.pending, flush=True)
    os._exit(0)
os.kill(os.getpid(), 9) if sys.stdin.read(1) else None
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as run:
        assert run.stdin
        assert run.stdout
        assert run.stdout.readline() == "refused 0\n"
        run.stdin.write("x")
        run.stdin.close()
        assert run.stdout.readline() == "2\n"
        assert run.stdout.read() == ""
