"""A local stack as a whole: run it here, start it in the background, stop it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import structlog

from headwater.control.model import Project
from headwater.local.child import is_running as process_is_running
from headwater.local.child import kill_group, wait_gone
from headwater.local.clickhouse.folder import FolderError, check_path
from headwater.local.deployment import Deployment, ensure_project, load_deployment, save_deployment
from headwater.local.kafka import KafkaNode, KafkaStartError
from headwater.local.kafka_files import fetch_kafka
from headwater.local.ports import Ports, reachable
from headwater.local.services import (
    Service,
    clickhouse_problem,
    clickhouse_service,
    headwater_services,
    kafka_service,
)
from headwater.local.state import AlreadyRunningError, State, hold, is_running, last_state, read_state, remove_state
from headwater.local.supervisor import StackError, Supervisor
from headwater.settings import PREFIX, Settings

KAFKA_PORT, CONTROLLER_PORT, CLICKHOUSE_PORT, FIRST_HEALTH_PORT = 19092, 19093, 18123, 17001
STOP_SECONDS = 120.0
GIVEN_SECONDS = 10.0  # how long what was given to be used may be away
POLL_SECONDS = 0.1

log = structlog.get_logger("headwater.supervisor")


@dataclass(frozen=True)
class StackOptions:
    """What `headwater up` is asked for. `settings` has data_dir, host, the wanted port and all that services read."""

    settings: Settings
    kafka: str | None = None  # in the place of our own
    clickhouse: str | None = None
    processors: int = 1

    @property
    def data_dir(self) -> Path:
        """The stack's folder, absolute."""
        return self.settings.data_dir.absolute()


def check_data_dir(options: StackOptions) -> None:
    """Raises StackError, before anything is written, where Kafka or the engine could not work in the data directory."""
    try:
        if options.kafka is None:
            KafkaNode(options.data_dir / "kafka", options.data_dir / "logs" / "kafka.log", 0, 0).check_path()
        if options.clickhouse is None:
            check_path(options.data_dir / "clickhouse")
    except (KafkaStartError, FolderError) as error:
        raise StackError(f"The data directory cannot be used: {error} (--data-dir or HEADWATER_DATA_DIR).") from None


def run_stack(options: StackOptions, on_ready: Callable[[State], None]) -> None:
    """Run a stack in this process until it gets a signal. Call it in the main thread.

    Raises AlreadyRunningError, StackError, MavenError, DeploymentError, PortError, SettingsError.
    """
    check_data_dir(options)
    data_dir = options.data_dir
    with hold(data_dir), closing(Ports()) as ports:
        ended = end_left_over(data_dir)
        if ended:
            log.warning("ended what a killed supervisor had left", processes=ended)
        jars = fetch_kafka() if options.kafka is None else None
        given = options.settings.secret
        deployment = load_deployment(data_dir, given.get_secret_value() if given else None)
        deployment, settings, services = _plan(options, deployment, ports, jars)
        save_deployment(data_dir, deployment)

        def make_project() -> Project:
            if options.clickhouse is not None:
                _wait_for_clickhouse(options.clickhouse)
            project = ensure_project(settings, deployment.project_id)
            save_deployment(data_dir, replace(deployment, project_id=project.id))
            return project

        state = State(
            supervisor_pid=os.getpid(),
            supervisor_created=psutil.Process().create_time(),
            url=f"http://{reachable(settings.host)}:{settings.port}",
            kafka=settings.kafka,
            clickhouse=settings.clickhouse,
            secret=settings.required_secret(),
        )
        Supervisor(data_dir, services, state, make_project, on_ready).run()
    log.info("stopped")


def start_in_background(options: StackOptions) -> State:
    """Run the stack by `headwater up` in a session of its own, and return its state when it is ready.

    Nothing of ours stays open in it: its output goes to logs/supervisor.log. Raises StackError when it ends instead, and
    AlreadyRunningError when another one was quicker. KeyboardInterrupt stops it again.
    """
    check_data_dir(options)
    data_dir = options.data_dir
    arguments = ["--data-dir", str(data_dir), "--processors", str(options.processors)]
    arguments += ["--port", str(options.settings.port)]
    # By the environment, not by arguments, which everybody can read: they may hold passwords.
    addresses = {f"{PREFIX}KAFKA": options.kafka, f"{PREFIX}CLICKHOUSE": options.clickhouse}
    log_file = data_dir / "logs" / "supervisor.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as output:
        logged_before = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "headwater.cli", "up", *arguments],
            env=os.environ | {name: value for name, value in addresses.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while process.poll() is None:
            state = read_state(data_dir)
            if state is not None and state.started and state.supervisor_pid == process.pid:
                process.returncode = 0  # it goes on without us
                return state
            time.sleep(POLL_SECONDS)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode == 0 and is_running(data_dir):
        raise AlreadyRunningError(f"a stack runs in {data_dir} already")
    state = last_state(data_dir)
    if state is not None and state.failure is not None and state.supervisor_pid == process.pid:
        raise StackError(state.failure)
    said = log_file.read_bytes()[logged_before:].decode(errors="replace").strip().splitlines()
    raise StackError(said[-1] if said else f"the supervisor ended with exit code {process.returncode}: see {log_file}")


def wait_until_started(data_dir: Path) -> None:
    """Block until the stack that runs in a data directory has been ready. Raises StackError when it ends before."""
    while is_running(data_dir):
        state = last_state(data_dir)
        alive = state is not None and process_is_running(state.supervisor_pid, state.supervisor_created)
        if state is not None and alive and state.started:
            return
        time.sleep(POLL_SECONDS)
    raise StackError(f"the stack that was starting in {data_dir} has ended: see {data_dir / 'logs' / 'supervisor.log'}")


def stop_stack(data_dir: Path) -> bool:
    """Stop the stack of a data directory and return when it is gone; False when none ran.

    Blocks. What a killed supervisor left is ended too. Raises StackError when it does not end in time even so.
    """
    if not is_running(data_dir):
        return end_left_over(data_dir) > 0
    state = read_state(data_dir)
    if state is None or not process_is_running(state.supervisor_pid, state.supervisor_created):
        raise StackError(f"a supervisor that holds {data_dir} is just starting or ending: try again")
    os.kill(state.supervisor_pid, signal.SIGTERM)
    if not wait_gone(state.supervisor_pid, state.supervisor_created, STOP_SECONDS):
        os.kill(state.supervisor_pid, signal.SIGKILL)
        if not wait_gone(state.supervisor_pid, state.supervisor_created, STOP_SECONDS):
            raise StackError(f"the supervisor, process {state.supervisor_pid}, does not end")
        end_left_over(data_dir)
    return True


def end_left_over(data_dir: Path) -> int:
    """End the processes that the last state names, if they are still the same ones, and remove that state.

    Returns how many there were. Call it when no supervisor runs.
    """
    state = last_state(data_dir)
    left = [
        service
        for service in (state.services.values() if state else ())
        if process_is_running(service.pid, service.created)
    ]
    for service in left:
        kill_group(service.pid)
    for service in left:
        wait_gone(service.pid, service.created, STOP_SECONDS)
    remove_state(data_dir)
    return len(left)


def _wait_for_clickhouse(url: str) -> None:
    """Block until the given ClickHouse can be used. Raises StackError after GIVEN_SECONDS, at once where it refuses the user."""
    deadline = time.monotonic() + GIVEN_SECONDS
    while problem := clickhouse_problem(url):
        if not problem.may_pass or time.monotonic() > deadline:
            raise StackError(
                f"The given ClickHouse (--clickhouse or HEADWATER_CLICKHOUSE) cannot be used: {problem.reason}"
            )
        time.sleep(POLL_SECONDS)


def _plan(
    options: StackOptions, deployment: Deployment, ports: Ports, jars: list[Path] | None
) -> tuple[Deployment, Settings, list[Service]]:
    """Ports, the settings that all services get, and the services; our own Kafka where there are jars for it."""
    data_dir, logs = options.data_dir, options.data_dir / "logs"
    host = options.settings.host
    kept = dict(deployment.ports)

    def port(name: str, usual: int, on: str = "127.0.0.1") -> int:
        wanted = kept.get(name, usual)
        kept[name] = ports.claim(wanted, on)
        if kept[name] != wanted:
            log.warning("port is in use, another is taken", port_of=name, wanted=wanted, taken=kept[name])
        return kept[name]

    if options.settings.port != kept.get("wanted_http"):  # another one is asked for than the last time
        kept["wanted_http"] = options.settings.port
        kept.pop("http", None)
    update: dict[str, object] = {
        "data_dir": data_dir,
        "secret": deployment.secret,
        "port": port("http", options.settings.port, host),
    }
    services = []
    if jars is not None:
        update |= {"kafka": f"127.0.0.1:{port('kafka', KAFKA_PORT)}", "kafka_security_protocol": "PLAINTEXT"}
        controller_port = port("controller", CONTROLLER_PORT)
        services.append(kafka_service(data_dir / "kafka", logs, kept["kafka"], controller_port, jars))
    else:
        update["kafka"] = options.kafka
    if options.clickhouse is None:
        password = deployment.clickhouse_password
        update["clickhouse"] = f"http://default:{password}@127.0.0.1:{port('clickhouse', CLICKHOUSE_PORT)}"
        services.append(clickhouse_service(data_dir / "clickhouse", logs, kept["clickhouse"], password))
    else:
        update["clickhouse"] = options.clickhouse
    settings = Settings(**(options.settings.model_dump(exclude_none=True) | update))
    workers = [*(f"processor-{number + 1}" for number in range(options.processors)), "sink"]
    for name in sorted(workers, key=lambda name: name not in kept):  # those that had one before have it again
        kept[name] = ports.claim(kept.get(name, FIRST_HEALTH_PORT), host)
    health_ports = {name: kept[name] for name in workers}
    services += headwater_services(settings, logs, health_ports)
    return replace(deployment, ports=kept), settings, services
