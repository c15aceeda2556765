"""One run: load, a moment of its life, a fault, its end, and how long it took until all was as before."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException

from headwater.control import Project
from tests.faults.matrix.ledger import IntoTopics, OverHttp, Sender
from tests.faults.matrix.referee import ERROR, MISMATCH, Account, Check, Known, Marks, Referee
from tests.faults.matrix.stack import FaultError, Stack, wait_for

FIRST, STEADY, BURST = "first", "steady", "burst"
MOMENTS = {
    FIRST: "as soon as the first request is answered, when nothing of the project is known yet",
    STEADY: "while events flow through: 1,000 a second, half as many of history, and 200 written to topics of a producer's own",
    BURST: "in a burst of 15,000 events sent as fast as they are taken",
}
HISTORY, WRITTEN = "history", "written"
PROJECTS = {"once": "all", "each": "off", WRITTEN: "off", HISTORY: "off"}  # and their windows of ids
FLOWING, BURST_EVENTS, IN_BURST = 500, 5_000, 1_000  # events of one project
RECOVERY_SECONDS = 120.0
KEEP_UP_SECONDS = 1.0


@dataclass
class Scene:
    """What a fault is injected into."""

    stack: Stack
    projects: tuple[Project, ...]  # those of live events
    seconds: float  # how long the fault is to last
    marks: Marks  # where the topics ended before it
    known: Known = field(default_factory=Known)
    complaints: list[str] = field(default_factory=list)  # what the fault itself saw that must not be


Inject = Callable[[Scene], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """One line of the matrix. `inject` is the fault while it is entered; it raises FaultError where it cannot be done here."""

    name: str
    injected: str
    seen: str  # what a user sees of it
    inject: Inject
    seconds: float = 0.0
    short_seconds: float = 0.0
    short: bool = False  # whether it is in the short form
    place: str = "shared"  # the stack that it needs
    after: Callable[[Scene], list[str]] | None = None  # what must be so afterwards, beside what the referee checks
    broken: dict[str, str] = field(default_factory=dict)  # programs in the place of the product's: a negative control
    moments: tuple[str, ...] = (STEADY, BURST, FIRST)
    written: bool = True  # whether producers write to topics of their own


@dataclass
class Run:
    """What became of one run."""

    fault: str
    moment: str
    outcome: str
    differences: list[str]
    recovery: float | None = None  # seconds from the fault's end until what was answered since is visible
    longest_wait: float = 0.0  # seconds that a sender waited for an answer of success
    answers: dict[str, int] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def perform(fault: Fault, stack: Stack, referee: Referee, moment: str, short: bool = False) -> Run:
    """Run it once. Never raises for what the product or the fault does: that is the outcome."""
    began = time.monotonic()
    run = Run(fault.name, moment, ERROR, [])
    senders: list[Sender] = []
    try:
        marks = referee.begin()
        made = {
            name: stack.project(name, window) for name, window in PROJECTS.items() if name != WRITTEN or fault.written
        }
        accounts = []
        for name, project in made.items():
            way = (
                IntoTopics(stack.settings, project)
                if name == WRITTEN
                else OverHttp(stack.url, project, history=name == HISTORY)
            )
            sender = Sender(project.id, way)
            senders.append(sender)
            accounts.append(Account(name, project, sender.ledger, PROJECTS[name] == "all", name == WRITTEN))
            sender.start()
        live = [sender for sender in senders if sender.project_id != made[HISTORY].id]
        projects = tuple(project for name, project in made.items() if name != HISTORY)
        scene = Scene(stack, projects, fault.short_seconds if short else fault.seconds, marks)
        _wait_for_moment(moment, live, projects, referee)
        with fault.inject(scene):
            time.sleep(scene.seconds)
        mended = time.monotonic()
        # What is broken on purpose does not recover: the referee tells it.
        slow = None if fault.broken else _recovered(scene, live, referee, mended)
        if slow is None and not fault.broken:
            run.recovery = round(time.monotonic() - mended, 2)
        for sender in senders:
            if not sender.finish(RECOVERY_SECONDS):
                scene.complaints.append(f"requests are not answered with success: {dict(sender.ledger.answers)}")
        check = referee.check(marks, accounts, scene.known) if not scene.complaints else Check(MISMATCH)
        run.outcome, run.differences, run.figures = check.outcome, check.differences + scene.complaints, check.figures
        if slow is not None and check.outcome != ERROR:
            run.outcome = MISMATCH
            run.differences.append(f"not as before within {RECOVERY_SECONDS:g} s: {slow}")
        if fault.after is not None and check.outcome != ERROR and (wrong := fault.after(scene)):
            run.outcome = MISMATCH
            run.differences += wrong
    except Exception as error:  # no verdict: the fault or the stack could not be had
        run.outcome, run.differences = ERROR, [f"{type(error).__name__}: {error}"[:2000]]
    finally:
        for sender in senders:
            sender.finish(0)
            run.longest_wait = max(run.longest_wait, round(sender.ledger.longest_wait, 2))
            for answer, count in sender.ledger.answers.items():
                run.answers[answer] = run.answers.get(answer, 0) + count
    run.seconds = round(time.monotonic() - began, 1)
    return run


def _wait_for_moment(moment: str, senders: list[Sender], projects: tuple[Project, ...], referee: Referee) -> None:
    wait_for(lambda: all(sender.answered for sender in senders), RECOVERY_SECONDS, "the first answers", 0.001)
    if moment == FIRST:
        return
    wait_for(
        lambda: all(referee.visible(project, FLOWING) >= FLOWING for project in projects),
        RECOVERY_SECONDS,
        "the first events in ClickHouse",
    )
    if moment == BURST:
        before = [sender.answered for sender in senders]
        for sender in senders:
            sender.burst(BURST_EVENTS)
        wait_for(
            lambda: any(s.answered > b + IN_BURST for s, b in zip(senders, before, strict=True)),
            RECOVERY_SECONDS,
            "a burst",
            0.001,
        )


def _recovered(scene: Scene, senders: list[Sender], referee: Referee, mended: float) -> str | None:
    """Wait until requests sent since are answered, all answered by then is visible, and every service is ready; else what is not."""
    deadline, kept_up = time.monotonic() + RECOVERY_SECONDS, 0.0
    below: dict[str, int] = {}
    what = ""
    while time.monotonic() < deadline:
        if time.monotonic() - kept_up > KEEP_UP_SECONDS:
            scene.stack.keep_up()
            kept_up = time.monotonic()
        with suppress(ClickHouseError, KafkaException, httpx.HTTPError):
            what = _missing(scene, senders, referee, mended, below)
            if not what:
                return None
        time.sleep(0.05)
    return what or "ClickHouse does not answer"


def _missing(scene: Scene, senders: list[Sender], referee: Referee, mended: float, below: dict[str, int]) -> str:
    gone = len(scene.known.unprocessed) + len(scene.known.unstored)
    for sender, project in zip(senders, scene.projects, strict=True):
        if project.id not in below:
            if sender.answered_from <= mended:
                return f"no request that was sent since is answered: {dict(sender.ledger.answers)}"
            below[project.id] = sender.answered
        if (there := referee.visible(project, below[project.id])) + gone < below[project.id]:
            return f"{there} of {below[project.id]} events are visible"
    late = [p.name for p in scene.stack.processes.values() if not (p.running and p.ready())]
    return f"not ready: {', '.join(late)}" if late else ""


__all__ = ["BURST", "FIRST", "MOMENTS", "STEADY", "Fault", "FaultError", "Run", "Scene", "perform"]
