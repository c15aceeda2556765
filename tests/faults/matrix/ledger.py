"""The load, and its ledger: what was answered with success, and nothing else.

A sender numbers its events from 0. A request that is not answered with success is sent again, byte for byte, until it is;
only then are its events in the ledger. So when a sender has ended, the ledger is all that it ever sent.
"""

import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import httpx
import orjson

COLLECTIONS = ("visits", "orders")
BATCH, BURST_BATCH = 50, 500
PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 6.0
AGAIN_SECONDS = 0.1


@dataclass(frozen=True)
class Entry:
    """One event that was answered with success."""

    id: str
    collection: str
    number: int


@dataclass
class Ledger:
    """A project's entries, in the order of their answers, and what else the sender saw."""

    entries: list[Entry] = field(default_factory=list)
    answers: Counter[str] = field(
        default_factory=Counter
    )  # HTTP statuses, and the names of errors where there was none
    longest_wait: float = 0.0  # seconds in which no request was answered with success


def event_id(project_id: str, number: int) -> str:
    """The id of a project's event."""
    return str(uuid.uuid5(uuid.UUID(project_id[:24].ljust(32, "0")), str(number)))


class Sender:
    """Sends events of one project in a thread of its own, from `start` to `finish`."""

    def __init__(self, url: str, project_id: str, write_key: str, history: bool = False) -> None:
        self.project_id = project_id
        self.ledger = Ledger()
        self._address = f"{url}/3.0/projects/{project_id}/events"
        self._headers = {"Authorization": write_key, "Content-Type": "application/json"}
        if history:
            self._headers["Headwater-Backfill"] = "true"
        self._began = 0.0  # when the request began that was answered last
        self._burst = 0
        self._number = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sender-{project_id}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    @property
    def answered(self) -> int:
        """How many events were answered with success; those with lower numbers than this."""
        return len(self.ledger.entries)

    @property
    def answered_from(self) -> float:
        """When the request began that was answered with success last, by the monotonic clock."""
        return self._began

    def burst(self, events: int) -> None:
        """Send the next so many without a pause, in large requests."""
        self._burst = events

    def finish(self, seconds: float) -> bool:
        """End when all that was begun is answered with success; False where that took longer than `seconds`."""
        self._stopping.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        client = httpx.Client(timeout=ANSWER_SECONDS)
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                in_burst = self._burst > 0
                count = BURST_BATCH if in_burst else BATCH
                self._send(client, range(self._number, self._number + count))
                self._number += count
                if in_burst:
                    self._burst -= count
                else:
                    self._stopping.wait(max(0.0, began + PAUSE_SECONDS - time.monotonic()))
        finally:
            client.close()

    def _send(self, client: httpx.Client, numbers: range) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body: dict[str, list[dict[str, object]]] = {name: [] for name in COLLECTIONS}
        entries = []
        for number in numbers:
            entry = Entry(event_id(self.project_id, number), COLLECTIONS[number % len(COLLECTIONS)], number)
            entries.append(entry)
            event = {"n": number, "text": "x" * 100, "keen": {"timestamp": now, "uniqueness_token": entry.id}}
            body[entry.collection].append(event)
        data, since = orjson.dumps(body), time.monotonic()
        while True:
            began = time.monotonic()
            try:
                answer = client.post(self._address, content=data, headers=self._headers)
                self.ledger.answers[str(answer.status_code)] += 1
                results = answer.json() if answer.status_code == 200 else {}
            except (httpx.HTTPError, ValueError) as error:
                self.ledger.answers[type(error).__name__] += 1
                results = {}
            if sum(result.get("success") is True for each in results.values() for result in each) == len(entries):
                break
            time.sleep(AGAIN_SECONDS)
        self.ledger.longest_wait = max(self.ledger.longest_wait, time.monotonic() - since)
        self.ledger.entries += entries
        self._began = began
