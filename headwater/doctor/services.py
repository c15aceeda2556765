"""The services: whether each is ready, and which version it is."""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import httpx

from headwater.doctor.check import Check, failed, ok, skipped, warning
from headwater.doctor.machines import Clock, now
from headwater.local.state import State

ANSWER_SECONDS = 3.0
REASONS_MAX = 300
LOSSES = (
    "its log names them (offsets lost); raise retention.ms of that topic, send those events again from where they came from (with the "
    "same ids they count once), and restart the service"
)
_BUILD = re.compile(
    r'^headwater_build_info\{(?=.*?version="(?P<version>[^"]*)")(?=.*?python="(?P<python>[^"]*)").*\}', re.MULTILINE
)

_LOST = re.compile(r"^headwater_offsets_lost_total\{[^}]*\} (\S+)$", re.MULTILINE)


class Answers(NamedTuple):
    """What a service says: /readyz's status and text (None and why, where it did not answer), its version and Python, its clock."""

    status: int | None
    text: str
    build: tuple[str, str] | None = None
    clock: Clock | None = None
    lost: int = 0  # offsets that Kafka did not have any more when this process was to read them


def ask(name: str, url: str) -> Answers:
    """Ask a service. Blocks for a few seconds at most."""
    try:
        with httpx.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False) as client:
            before = now()
            ready = client.get("/readyz")
            after = now()
            metrics = client.get("/metrics")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Answers(None, str(error) or type(error).__name__)
    build = _BUILD.search(metrics.text)
    date, clock = ready.headers.get("date"), None
    if date:
        try:
            clock = Clock(f"{name} (HTTP)", parsedate_to_datetime(date).timestamp(), before, after, precision=1.0)
        except ValueError:
            clock = None
    return Answers(
        ready.status_code,
        reasons(ready.text),
        (build["version"], build["python"]) if build else None,
        clock,
        sum(int(float(found)) for found in _LOST.findall(metrics.text)),
    )


def reasons(text: str) -> str:
    """What /readyz says keeps a service from its work, in one line."""
    return "; ".join(line for line in text.splitlines() if line not in ("", "not ready"))[:REASONS_MAX]


def ask_all(services: Mapping[str, str]) -> dict[str, Answers]:
    """Ask services, by name and URL, all at once."""
    if not services:
        return {}
    with ThreadPoolExecutor(len(services)) as threads:
        return dict(zip(services, threads.map(lambda one: ask(*one), services.items()), strict=True))


def judge(answers: Mapping[str, Answers], state: State | None) -> list[Check]:
    """Which services are not ready, or have ended; `state` is the local stack's, where there is one."""
    found = []
    for name, each in answers.items():
        service = f"service {name}"
        log = f"see logs/{name}.log in the data directory" if state else "see its log"
        own = state.services.get(name) if state else None
        if each.status is None:
            found.append(failed(service, f"does not answer: {each.text}", f"start it, or {log}"))
        elif each.status != httpx.codes.OK:
            found.append(failed(service, "is not ready" + (f": {each.text}" if each.text else ""), log))
        elif own is not None and own.restarts:
            times = "once" if own.restarts == 1 else f"{own.restarts} times"
            found.append(warning(service, f"ready, but it was started again {times}", f"{log} for why it ended"))
        else:
            found.append(ok(service, "ready"))
        if each.lost:
            said = f"{each.lost:,} OFFSETS ARE LOST since it started: Kafka had deleted them before it read them"
            found.append(failed(f"{service}'s losses", said, LOSSES))
    if not answers:
        remedy = "give each as --service NAME=URL (the URL of its /readyz, without that), or set HEADWATER_URL"
        found.append(skipped("services", "no address is known", remedy))
    return found
