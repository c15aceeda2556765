"""The supervisor of a local stack: starts the services, watches them, starts again what ends, and stops them in reverse.

Everything happens in one loop in the main thread, except what may block: probes and the making of the project. The loop's
view goes to the state file whenever it changes; `headwater status` reads nothing else, so it never waits on a dead service.
"""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TypeVar

import structlog

from headwater.control.model import ControlError, Project
from headwater.local.child import Child
from headwater.local.kafka import KafkaStartError
from headwater.local.services import BACKENDS, Service
from headwater.local.state import ServiceState, State, remove_state, write_state

TICK_SECONDS = 0.1
PROBE_EVERY_SECONDS = 0.5
PROBE_AGAIN_SECONDS = 0.1  # of what is not ready
FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 10.0
STEADY_SECONDS = 20.0  # ready for so long, a service's next end is its first again
TRIES_TO_START = 5
START_SECONDS = 300.0
LOG_TAIL_LINES = 8
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

T = TypeVar("T")

log = structlog.get_logger("headwater.supervisor")


class StackError(Exception):
    """The stack cannot start; the message names the service, the reason and its log."""


class Supervised:
    """A service with its present child, its readiness as last probed, and when it is to be started again."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.ready = False  # whether the present child answered its last probe
        self.ever_ready = False
        self.last: ServiceState | None = None  # for the state file; between two lives it names the process that ended
        self._child: Child | None = None
        self._prepared: Future[None] | None = None
        self._launches = 0
        self._failures = 0  # ends since it was last steady
        self._due = 0.0
        self._ready_since = 0.0
        self._probed: tuple[int, bool] = (0, False)  # which process, and whether it was ready

    def begin(self) -> None:
        """From now on `tick` keeps it running."""
        self._prepared = in_background(f"prepare-{self.service.name}", self.service.prepare)

    def tick(self) -> None:
        """Start it when that is due, note its readiness and its end. Never blocks.

        Raises StackError when it cannot be prepared, or ends again and again without having been ready.
        """
        now = time.monotonic()
        if self._prepared is None or not self._prepared.done():
            return
        if self._child is None and now >= self._due:
            self._launch()
        if self._child is not None:
            self._note_readiness(now)
            code = self._child.exit_code()
            if code is not None:
                self._note_end(code, now)
            else:
                self.last = ServiceState(
                    self._child.pid, self.ready, self._launches - 1, self.service.port, self._child.created
                )

    def probe(self) -> None:
        """Ask the present child whether it is ready. May block for a probe's time; called in a thread of its own."""
        child = self._child
        if child is not None:
            self._probed = (child.pid, self.service.probe())

    def terminate(self) -> None:
        """Ask it to end; it is not started again, if `tick` is not called again."""
        if self._child is not None:
            log.info("stopping", child=self.service.name)
            self._child.terminate()

    def has_ended(self) -> bool:
        """Whether no child runs, nor anything that prepares for one."""
        prepared = self._prepared is None or self._prepared.done()
        return prepared and (self._child is None or self._child.exit_code() is not None)

    def kill(self) -> None:
        """End it and all that it started."""
        if self._child is not None:
            if self._child.exit_code() is None:
                log.warning("killed, it did not end in time", child=self.service.name)
            self._child.kill()

    def _launch(self) -> None:
        assert self._prepared is not None
        try:
            self._prepared.result()
            self._child = Child(self.service.command, self.service.environment, self.service.log_file)
        except (KafkaStartError, OSError) as error:
            raise StackError(f"{self.service.name} cannot be started: {error}") from error
        self._launches += 1
        log.info("started", child=self.service.name, pid=self._child.pid, launch=self._launches)

    def _note_readiness(self, now: float) -> None:
        assert self._child is not None
        was_ready, self.ready = self.ready, self._probed == (self._child.pid, True)
        if self.ready and not was_ready:
            self._ready_since = now
            self.ever_ready = True
            log.info("ready", child=self.service.name)
        elif was_ready and not self.ready:
            log.warning("not ready", child=self.service.name)
        if self.ready and now - self._ready_since > STEADY_SECONDS:
            self._failures = 0

    def _note_end(self, code: int, now: float) -> None:
        assert self._child is not None
        self._child.kill()  # what it may have started
        self._child, self.ready = None, False
        if self.last is not None:
            self.last = replace(self.last, ready=False)
        self._failures += 1
        if not self.ever_ready and self._failures >= TRIES_TO_START:
            raise StackError(
                f"{self.service.name} ended {self._failures} times before it was ready, at last with exit code {code}. "
                f"The end of {self.service.log_file}:\n{_tail(self.service.log_file)}"
            )
        backoff = min(FIRST_BACKOFF_SECONDS * 2 ** (self._failures - 1), LONGEST_BACKOFF_SECONDS)
        self._due = now + backoff
        log.warning(
            "ended; will be started again",
            child=self.service.name,
            exit_code=code,
            in_seconds=backoff,
            log=str(self.service.log_file),
        )


class Supervisor:
    """Runs the services of one stack until a signal.

    state: what is known beforehand: url, addresses, the supervisor itself.
    make_project: gives the project; called in a thread, once Kafka and ClickHouse are ready, while the other services start.
        It may block, and raise ControlError, which ends the stack.
    on_ready: called once, in the main thread, when all services are ready for the first time.
    """

    def __init__(
        self,
        data_dir: Path,
        services: Sequence[Service],
        state: State,
        make_project: Callable[[], Project],
        on_ready: Callable[[State], None],
    ) -> None:
        self._data_dir = data_dir
        self._supervised = [Supervised(service) for service in services]
        self._state = state
        self._make_project = make_project
        self._on_ready = on_ready
        self._unwritten = False  # the state file is not what it should be
        self._stop = threading.Event()
        self._hurry = threading.Event()

    def run(self) -> None:
        """Start everything and watch it until SIGTERM, SIGINT or SIGHUP; then stop it. A second signal kills.

        Call it in the main thread, holding the data directory. Raises StackError when the stack cannot start; everything
        is stopped by then, and the reason is in the state file. Raises OSError where that cannot be written at all.
        """
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        write_state(self._data_dir, self._state)
        try:
            self._watch()
            self._stop_all()
            remove_state(self._data_dir)
        except StackError as error:
            self._stop_all()
            self._state = replace(self._state, ready=False, services={}, failure=str(error))
            self._write()
            raise
        except BaseException:
            self._hurry.set()
            self._stop_all()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self) -> None:
        """The loop, until a signal."""
        backends = [one for one in self._supervised if one.service.stage == BACKENDS]
        others = [one for one in self._supervised if one.service.stage != BACKENDS]
        project: Future[Project] | None = None
        deadline = time.monotonic() + START_SECONDS
        for one in self._supervised:
            threading.Thread(target=self._probe, args=(one,), name=f"probe-{one.service.name}", daemon=True).start()
        for one in backends:
            one.begin()
        while not self._stop.wait(TICK_SECONDS):
            for one in self._supervised:
                one.tick()
            if project is None and all(one.ready for one in backends):
                project = in_background("make-project", self._make_project)
                for one in others:
                    one.begin()
            if self._state.project_id is None and project is not None and project.done():
                self._note_project(project)
            self._publish()
            if not self._state.started and time.monotonic() > deadline:
                waiting = ", ".join(one.service.name for one in self._supervised if not one.ever_ready)
                raise StackError(
                    f"not ready within {START_SECONDS:g} s: {waiting}. Their logs are in {self._data_dir}/logs."
                )

    def _probe(self, one: Supervised) -> None:
        while not self._stop.wait(PROBE_EVERY_SECONDS if one.ready else PROBE_AGAIN_SECONDS):
            one.probe()

    def _note_project(self, made: Future[Project]) -> None:
        try:
            project = made.result()
        except ControlError as error:
            raise StackError(str(error)) from error
        self._state = replace(
            self._state,
            project_id=project.id,
            database=f"headwater_{project.id}",
            master_key=project.master_key,
            write_key=project.write_key,
            read_key=project.read_key,
        )

    def _publish(self) -> None:
        """Write the state if it is another one than before."""
        ready = self._state.project_id is not None and all(one.ready for one in self._supervised)
        services = {one.service.name: one.last for one in self._supervised if one.last is not None}
        first_time = ready and not self._state.started
        state = replace(self._state, ready=ready, started=self._state.started or ready, services=services)
        if state != self._state or self._unwritten:
            self._state = state
            self._write()
        if first_time:
            self._on_ready(state)

    def _write(self) -> None:
        """Write the state; where that cannot be done, on a full disk, the services go on, and it is tried again."""
        try:
            write_state(self._data_dir, self._state)
        except OSError as error:
            if not self._unwritten:
                log.error("its state cannot be written; trying until it can", error=str(error))
            self._unwritten = True
        else:
            if self._unwritten:
                log.info("its state is written again")
            self._unwritten = False

    def _stop_all(self) -> None:
        """End the services, those that others need last; all of a stage at once."""
        self._stop.set()
        self._state = replace(self._state, ready=False)
        self._write()
        for stage in sorted({one.service.stage for one in self._supervised}, reverse=True):
            ending = [one for one in self._supervised if one.service.stage == stage]
            for one in ending:
                one.terminate()
            deadline = time.monotonic() + max(one.service.stop_seconds for one in ending)
            while not all(one.has_ended() for one in ending):
                if time.monotonic() > deadline or self._hurry.wait(TICK_SECONDS / 2):
                    break
            for one in ending:
                one.kill()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()


def in_background(name: str, work: Callable[[], T]) -> Future[T]:
    """The work's future result, from a thread that does not keep this process from ending."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # it is raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def _tail(path: Path) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]) or "(empty)"
    except FileNotFoundError:
        return "(none)"
