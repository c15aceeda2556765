"""What is sent of a row, times of loaded events, and the checkpoint: what it says is answered has been."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.client.errors import FailedEvent
from headwater.client.event import Event, bulk_body
from headwater.load import loader
from headwater.load.checkpoint import Checkpoint, checkpoint_path, read_checkpoint
from headwater.load.loader import Loader, LoadError, as_time
from headwater.load.mapping import Columns
from headwater.load.rows import Lines, Row
from headwater.load.sending import Request
from headwater.load.source import FormatError

START = "2026-01-31T12:00:00.000+00:00"


class KilledError(Exception):
    """The process ends here."""


class Sender:
    """Answers what it is given in whatever order and number `draw` says, and dies where it says so."""

    def __init__(self, draw: Callable[..., Any], refused: set[str], server: dict[str, bytes]) -> None:
        self._draw = draw
        self._refused = refused
        self._server = server
        self._open: list[Request] = []

    def put(self, request: Request) -> None:
        self._open.append(request)
        if self._draw(st.integers(0, 9)) == 9:
            raise KilledError
        while self._open and self._draw(st.booleans()):
            self._answer()

    def flush(self) -> None:
        while self._open:
            self._answer()
            if self._draw(st.integers(0, 9)) == 9:
                raise KilledError

    def _answer(self) -> None:
        request = self._open.pop(self._draw(st.integers(0, len(self._open) - 1)))
        for event in request.events:
            self._server[event.id] = event.payload
            if event.id in self._refused:
                request.failures.append(refusal(event.id))
        request.answered = True


def refusal(event_id: str, *, refused: bool = True) -> FailedEvent:
    return FailedEvent("visits", event_id, "Refused" if refused else "Unreachable", "no", refused, b"{}")


def load(path: Path, sender: Any, blocks: Sequence[Iterable[Row]], **options: Any) -> list[int]:
    """Load blocks as the command does; returns the numbers of the lines that were rejected."""
    rejected: list[int] = []
    checkpoint = read_checkpoint(path, START)
    own = Loader(
        "visits",
        checkpoint,
        path,
        columns=Columns(options.pop("maps", ())),
        on_rejected=lambda line, _: rejected.append(line),
        on_progress=lambda: None,
        **options,
    )
    own.run(sender, blocks)
    return rejected


def line(number: int, kind: str) -> Row:
    if kind == "broken":
        return Row(number, f"key-{number}", None, "is not JSON")
    return Row(number, f"key-{number}", {"n": number})


def lines(*texts: bytes) -> Lines:
    return Lines(1, [*texts], [f"key-{number}" for number in range(1, len(texts) + 1)])


@given(st.lists(st.lists(st.sampled_from(["fine", "fine", "refused", "broken"]), max_size=4), max_size=8), st.data())
@settings(max_examples=50)
def test_a_checkpoint_has_what_is_answered_wherever_the_load_is_killed(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[list[str]], data: st.DataObject
) -> None:
    numbers = iter(range(1, 100))
    blocks = [[line(next(numbers), kind) for kind in block] for block in kinds]
    by_line = dict(enumerate((kind for block in kinds for kind in block), 1))
    refused = {f"key-{number}" for number, kind in by_line.items() if kind == "refused"}
    path = tmp_path_factory.mktemp("load") / "checkpoint.json"
    server: dict[str, bytes] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "CHECKPOINT_LINES", data.draw(st.integers(0, 6)))
        patch.setattr(loader, "BATCH_BYTES", data.draw(st.sampled_from([1, 150, 1_000_000])))
        while not read_checkpoint(path, START).finished:
            before = read_checkpoint(path, START)
            with suppress(KilledError):
                load(path, Sender(data.draw, refused, server), blocks)
            checkpoint = read_checkpoint(path, START)
            assert checkpoint.lines >= before.lines
            told = [kind for number, kind in by_line.items() if number <= checkpoint.lines]
            assert checkpoint.accepted == told.count("fine")
            assert checkpoint.rejected == len(told) - told.count("fine")
            assert all(
                f"key-{n}" in server for n, kind in by_line.items() if n <= checkpoint.lines and kind != "broken"
            )
    assert checkpoint.lines == len(by_line)


class Answering:
    """Takes all and answers at once, with these failures for each request."""

    def __init__(self, *failures: FailedEvent) -> None:
        self.events: list[Event] = []
        self._failures = failures

    def put(self, request: Request) -> None:
        self.events += request.events
        request.failures += self._failures
        request.answered = True

    def flush(self) -> None:
        """Everything is answered."""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
SPACES = st.sampled_from(["", " ", "\t"])


@given(
    st.dictionaries(st.text(max_size=5) | st.just("keen"), JSON, max_size=3).filter(
        lambda event: isinstance(event.get("keen", {}), dict)
    ),
    SPACES,
    st.booleans(),
)
@settings(max_examples=50)
def test_an_event_is_its_line_with_an_id_and_a_time(
    tmp_path_factory: pytest.TempPathFactory, event: dict[str, Any], space: str, ascii_only: bool
) -> None:
    text = json.dumps(event, ensure_ascii=ascii_only, separators=(space + "," + space, space + ":" + space))
    text = "{" + space + text[1:-1] + space + "}"
    sender = Answering()
    load(tmp_path_factory.mktemp("load") / "c", sender, [lines(text.encode())])
    sent = json.loads(sender.events[0].payload)
    keen = event.get("keen", {})
    when = keen.get("timestamp") or START
    assert sent == event | {"keen": keen | {"uniqueness_token": "key-1", "timestamp": when}}


LONG = b"123456789012345678901"  # of more than 64 bits


@pytest.mark.parametrize(
    ("text", "maps", "id_field", "name"),
    [
        (b'{"d":%b}', (), None, "d"),
        (b'{"keen":{},"d":%b}', (), None, "d"),
        (b'{"keen":null,"d":%b}', (), None, "d"),
        (b'{"d":%b}', (), "d", "d"),
        (b'{"d":%b}', ("d=e",), None, "e"),
    ],
)
def test_an_integer_of_more_than_64_bits_is_one_for_the_collector_too(
    tmp_path: Path, text: bytes, maps: tuple[str, ...], id_field: str | None, name: str
) -> None:
    sender = Answering()
    assert load(tmp_path / "c", sender, [lines(text % LONG)], maps=maps, id_field=id_field) == []
    sent = json.loads(sender.events[0].payload)[name]
    assert type(sent) is int, "a float would be taken"
    assert sent > 2**63 - 1


def test_a_keen_that_is_no_object_is_rejected(tmp_path: Path) -> None:
    assert load(tmp_path / "c", Answering(), [lines(b'{"keen":"x"}')]) == [1]


def test_what_is_no_event_of_its_own_ends_the_load(tmp_path: Path) -> None:
    error = refusal("key-1", refused=False)
    with pytest.raises(LoadError, match="Unreachable"):
        load(tmp_path / "c", Answering(error), [[line(1, "fine")], [line(2, "fine")]])
    assert read_checkpoint(tmp_path / "c", START) == Checkpoint(START)


class Reading:
    """Takes a request whose body is JSON, and none of another, as the collector does."""

    def __init__(self) -> None:
        self.taken: list[list[str]] = []
        self.refused = 0

    def put(self, request: Request) -> None:
        try:
            orjson.loads(bulk_body(request.events)[0])
            self.taken.append([event.id for event in request.events])
        except ValueError:
            self.refused += 1
            why = FailedEvent("visits", "", "InvalidPropertyValueError", "a is infinite", False, b"")
            request.failures = [why] * len(request.events)
        request.answered = True

    def flush(self) -> None:
        """Everything is answered."""


@pytest.mark.parametrize("id_field", [None, "order"])
def test_of_a_request_that_is_refused_for_one_line_all_others_are_sent(tmp_path: Path, id_field: str | None) -> None:
    texts = [b'{"order":"key-1"}', b"[]", b'{"order":"key-3","a":1e999}', b'{"order":"key-4","keen":{"a":"\\u0065"}}']
    sender = Reading()
    assert load(tmp_path / "c", sender, [lines(*texts), Lines(5, texts[:1], ["key-5"])], id_field=id_field) == [2, 3]
    assert sender.refused == 1
    assert sender.taken == [["key-1", "key-4"], ["key-1" if id_field else "key-5"]]
    assert read_checkpoint(tmp_path / "c", START) == Checkpoint(START, lines=5, accepted=3, rejected=2, finished=True)


def test_a_request_of_nothing_but_what_is_no_event_after_all_is_not_sent(tmp_path: Path) -> None:
    sender = Reading()
    assert load(tmp_path / "c", sender, [lines(b'{"a":1e999}')]) == [1]
    assert (sender.refused, sender.taken) == (1, [])
    assert read_checkpoint(tmp_path / "c", START) == Checkpoint(START, lines=1, rejected=1, finished=True)


def test_what_is_read_in_full_and_refused_all_the_same_ends_the_load(tmp_path: Path) -> None:
    error = FailedEvent("visits", "key-1", "InvalidEventError", "no", False, b"")
    sender = Answering(error)
    with pytest.raises(LoadError, match="InvalidEventError"):
        load(tmp_path / "c", sender, [lines(b'{"a":1}')])
    assert [json.loads(event.payload)["a"] for event in sender.events] == [1, 1]


@pytest.mark.parametrize("done", range(6))
def test_lines_are_sent_once_whichever_are_read_and_wherever_requests_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    """Blank lines and broken ones between, a request full after each two events, the lines of an earlier attempt left out."""
    monkeypatch.setattr(loader, "BATCH_BYTES", 150)
    texts = [b'{"a":1}', b"", b'{"keen":{"a":"\\u0065"}}', b"[]", b'{"a":2}', b" ", b'{"a":3}', b'{"a":4}', b""]
    Checkpoint(START, lines=done).save(tmp_path / "c")
    sender = Reading()
    assert load(tmp_path / "c", sender, [lines(*texts)]) == [4][: done < 4]
    wanted = [f"key-{number}" for number in (1, 3, 5, 7, 8) if number > done]
    assert [*chain.from_iterable(sender.taken)] == wanted
    assert [len(some) for some in sender.taken] == [2] * (len(wanted) // 2) + [1] * (len(wanted) % 2)
    assert read_checkpoint(tmp_path / "c", START).accepted == len(wanted)


def test_two_lines_with_one_id_are_both_counted(tmp_path: Path) -> None:
    rows = [Row(n, f"key-{n}", {"order": "A-1"}) for n in (1, 2)]
    refused = refusal("A-1")
    assert load(tmp_path / "c", Answering(refused, refused), [rows], id_field="order") == [2, 2]
    assert read_checkpoint(tmp_path / "c", START).rejected == 2


@given(st.integers(-2_208_988_800, 4_102_444_800), st.integers(0, 999))
def test_whole_numbers_are_the_times_that_python_makes_of_them(seconds: int, milliseconds: int) -> None:
    assert as_time(seconds, "at") == datetime.fromtimestamp(seconds, UTC).isoformat()
    value = seconds * 1000 + milliseconds
    if abs(value) >= loader.SECONDS_UNTIL:
        assert as_time(value, "at") == datetime.fromtimestamp(value / 1000, UTC).isoformat()


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-01-31", "2026-01-31"),
        (1769860800, "2026-01-31T12:00:00+00:00"),
        (1769860800.25, "2026-01-31T12:00:00.250000+00:00"),
        (1769860800250, "2026-01-31T12:00:00.250000+00:00"),
        (0, "1970-01-01T00:00:00+00:00"),
        (-86400, "1969-12-31T00:00:00+00:00"),
    ],
)
def test_times_are_text_or_seconds_or_milliseconds(value: Any, time: str) -> None:
    assert as_time(value, "when") == time


@pytest.mark.parametrize("value", [None, "", True, [], {}, 1e300, float("nan")])
def test_what_is_no_time_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match="'when'"):
        as_time(value, "when")


def test_a_checkpoint_is_read_back(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, "identity", "project", "visits")
    assert read_checkpoint(path, "2026-01-31") == Checkpoint("2026-01-31")
    checkpoint = Checkpoint("2026-01-31", lines=20_000, accepted=19_999, rejected=1)
    checkpoint.save(path)
    assert read_checkpoint(path, "2027-01-01") == checkpoint
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_each_way_of_loading_a_file_has_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    paths = {
        checkpoint_path(tmp_path, *what)
        for what in (("i", "p", "c"), ("j", "p", "c"), ("i", "q", "c"), ("i", "p", "cc"))
    }
    assert len(paths) == 4


@pytest.mark.parametrize("content", [b"", b'{"started_at":', b"[]", b'{"lines":1}'])
def test_a_damaged_checkpoint_is_named_and_not_taken_for_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=f"{path}.* remove that file"):
        read_checkpoint(path, START)
