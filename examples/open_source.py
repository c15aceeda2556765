"""Eight weeks of two made-up repositories, as GitHub tells of them: issues, comments, pull requests from new and known people."""

import random
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from headwater.client.target import find_target
from headwater.settings import load_settings

START = datetime(2026, 1, 4, tzinfo=UTC)  # a Sunday
WEEKS = 8
END = START + timedelta(weeks=WEEKS)
REPOSITORIES = {"lamp": 3, "lamp.js": 1}  # and how much happens there
MEMBERS = ("ada", "grace")
# The chance that a pull request is merged, by what its author is to the repository.
MERGES = {"MEMBER": 0.95, "CONTRIBUTOR": 0.7, "FIRST_TIME_CONTRIBUTOR": 0.4}
GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)

Payload = dict[str, Any]


class Delivery(NamedTuple):
    """One request of GitHub's: the event's name, its id and its payload."""

    event: str
    guid: str
    payload: Payload


class _History:
    """What has happened, and who has contributed where."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.noted: list[tuple[datetime, str, Payload]] = []
        self.merged: set[tuple[str, str]] = set()  # people with a merged pull request in a repository
        self.people = 0
        self.number = 0

    def note(self, event: str, at: datetime, repository: str, sender: str, **members: Any) -> None:
        if at < END:
            place = {"name": repository, "full_name": f"lumen/{repository}", "owner": {"login": "lumen"}}
            payload = members | {"repository": place, "organization": {"login": "lumen"}, "sender": {"login": sender}}
            self.noted.append((at, event, payload))

    def somebody(self) -> str:
        """Mostly members and people who were here before; now and then a new one."""
        if self.rng.random() < 0.35:
            return self.rng.choice(MEMBERS)
        if self.rng.random() < 0.25 or not self.people:
            self.people += 1
        return f"person-{self.rng.randint(max(1, self.people - 8), self.people)}"

    def association(self, person: str, repository: str) -> str:
        """What GitHub calls the author."""
        if person in MEMBERS:
            return "MEMBER"
        return "CONTRIBUTOR" if (person, repository) in self.merged else "FIRST_TIME_CONTRIBUTOR"


def deliveries(seed: int = 5) -> list[Delivery]:
    """What GitHub sends, in order of time; the same in every run, ids and all."""
    history = _History(seed)
    at = START
    while at < END:
        at += timedelta(hours=history.rng.expovariate(1 / 9))
        history.number += 1
        [repository] = history.rng.choices([*REPOSITORIES], [*REPOSITORIES.values()])
        if history.rng.random() < 0.5:
            _issue(history, repository, at)
        else:
            _pull_request(history, repository, at)
    ordered = sorted(history.noted, key=lambda one: one[0])
    return [Delivery(event, _guid(at, number), payload) for number, (at, event, payload) in enumerate(ordered)]


def send(sent: list[Delivery], data_dir: str | Path) -> None:
    """POST each to the collector of the stack in `data_dir`, as GitHub does. Blocks until all are answered."""
    target = find_target(load_settings(data_dir=Path(data_dir)))
    with httpx.Client(base_url=str(target.url), params={"api_key": str(target.write_key)}) as http:

        def post(one: Delivery) -> None:
            headers = {"X-GitHub-Event": one.event, "X-GitHub-Delivery": one.guid}
            http.post(f"/webhooks/github/{target.project_id}", json=one.payload, headers=headers).raise_for_status()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(post, sent))


def _issue(history: _History, repository: str, at: datetime) -> None:
    rng, author = history.rng, history.somebody()
    issue = {"id": 10_000 + history.number, "number": history.number, "user": {"login": author}}
    association = history.association(author, repository)
    opened = issue | {"state": "open", "author_association": association, "created_at": _text(at)}
    history.note("issues", at, repository, author, action="opened", issue=opened)
    for when in _later(rng, at, rng.randint(0, 6 if repository == "lamp" else 2)):
        commenter = rng.choice((author, *MEMBERS))
        comment = {"user": {"login": commenter}, "author_association": history.association(commenter, repository)}
        history.note("issue_comment", when, repository, commenter, action="created", issue=opened, comment=comment)


def _pull_request(history: _History, repository: str, at: datetime) -> None:
    rng, author = history.rng, history.somebody()
    association = history.association(author, repository)
    pull: Payload = {
        "id": 20_000 + history.number,
        "number": history.number,
        "user": {"login": author},
        "author_association": association,
        "base": {"ref": rng.choice(("main", "main", "main", "next"))},
        "additions": rng.randint(1, 400),
        "deletions": rng.randint(0, 150),
        "commits": rng.randint(1, 6),
        "merged": False,
        "created_at": _text(at),
    }
    history.note("pull_request", at, repository, author, action="opened", pull_request=pull)
    [closed] = _later(rng, at, 1)
    merged = rng.random() < MERGES[association]
    if merged:
        history.merged.add((author, repository))
    done = pull | {"merged": merged, "closed_at": _text(closed)}
    history.note("pull_request", closed, repository, rng.choice(MEMBERS), action="closed", pull_request=done)


def _later(rng: random.Random, at: datetime, count: int) -> Iterator[datetime]:
    for _ in range(count):
        at += timedelta(hours=rng.expovariate(1 / 12))
        yield at


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _guid(at: datetime, number: int) -> str:
    """A delivery's id as GitHub makes them: a UUIDv1, which holds the time."""
    ticks = (at - GREGORIAN) // timedelta(microseconds=1) * 10
    low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF | 0x1000
    return str(uuid.UUID(fields=(low, middle, high, 0x80 | number >> 8 & 0x3F, number & 0xFF, 0x68656164)))
