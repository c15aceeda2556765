"""What is sent of lines and rows, and the checkpoint: what it says is answered has been."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.load import loader
from headwater.load.checkpoint import Checkpoint, checkpoint_path, read_checkpoint
from headwater.load.loader import Loader, LoadError, check_form
from headwater.load.mapping import Columns
from headwater.load.row import Row
from headwater.load.rows import Lines
from headwater.load.sending import Failure, Request
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
        for number, event_id, event in sent(request):
            self._server[event_id] = event
            if event_id in self._refused:
                request.failures.append(refusal(number))
        request.answered = True


class Taking:
    """Takes every request, and keeps the events that were made of rows."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def put(self, request: Request) -> None:
        assert request.lines is None
        self.events += [json.loads(event.payload) for event in request.events]
        request.answered = True

    def flush(self) -> None:
        pass


def refusal(number: int, *, refused: bool = True) -> Failure:
    return Failure(number, "Refused" if refused else "Unreachable", "no", refused)


def sent(request: Request) -> list[tuple[int, str, bytes]]:
    """What is in a request: the number of each line, its id and its event."""
    if (of := request.lines) is None:
        return [(n, event.id, event.payload) for n, event in zip(request.numbers, request.events, strict=True)]
    assert not request.events
    return [(n, of.keys[n - of.first].decode(), of.texts[n - of.first]) for n in of.numbers]


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
    return Lines(1, [*texts], [b"key-%d" % number for number in range(1, len(texts) + 1)])


@given(st.lists(st.lists(st.sampled_from(["fine", "fine", "refused", "broken"]), max_size=4), max_size=8), st.data())
@settings(max_examples=50)
def test_a_checkpoint_has_what_is_answered_wherever_the_load_is_killed(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[list[str]], data: st.DataObject
) -> None:
    numbers = iter(range(1, 100))
    as_lines = data.draw(st.booleans())
    if as_lines:  # what is broken is refused, like all else that is
        kinds = [["refused" if kind == "broken" else kind for kind in block] for block in kinds]
    blocks: list[Iterable[Row]] = []
    for block in kinds:
        some = [next(numbers) for _ in block]
        if as_lines:
            blocks.append(Lines(next(iter(some), 1), [b"{}" for _ in some], [b"key-%d" % number for number in some]))
        else:
            blocks.append([line(number, kind) for number, kind in zip(some, block, strict=True)])
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

    def __init__(self, *failures: Failure) -> None:
        self.requests: list[list[tuple[int, str, bytes]]] = []
        self._failures = failures

    @property
    def events(self) -> list[Any]:
        return [json.loads(event) for request in self.requests for _, _, event in request]

    def put(self, request: Request) -> None:
        self.requests.append(sent(request))
        request.failures += self._failures
        request.answered = True

    def flush(self) -> None:
        """Everything is answered."""


def test_lines_are_sent_as_they_stand_there(tmp_path: Path) -> None:
    """Whether they are events, and which ids and times they have, is for the collector to say."""
    texts = [b'{"a" : 1e999}\r', b"[", b" ", b'{"keen":5}']
    sender = Answering(refusal(2))
    assert load(tmp_path / "c", sender, [lines(*texts)], id_field="order", timestamp_field="at") == [2]
    assert sender.requests == [[(1, "key-1", texts[0]), (2, "key-2", texts[1]), (4, "key-4", texts[3])]]
    assert read_checkpoint(tmp_path / "c", START) == Checkpoint(START, lines=4, accepted=2, rejected=1, finished=True)


def test_of_lines_whose_columns_are_mapped_and_of_rows_the_events_are_made_here(tmp_path: Path) -> None:
    sender = Answering()
    rows = [Row(2, "key-2", {"d": 2, "keen": {"timestamp": "2025-01-01"}}), Row(3, "key-3", {"d": 3, "keen": None})]
    rejected = load(tmp_path / "c", sender, [lines(b'{"d":1}'), rows, lines(b"")], maps=("d=e",))
    assert rejected == []
    own = {"uniqueness_token": "key-3", "timestamp": START}
    assert sender.events == [
        {"e": 1, "keen": own | {"uniqueness_token": "key-1"}},
        {"e": 2, "keen": {"uniqueness_token": "key-2", "timestamp": "2025-01-01"}},
        {"e": 3, "keen": own},
    ]


def test_a_line_that_no_request_takes_is_rejected_and_those_around_it_are_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "EVENT_BYTES", 200)
    sender = Answering()
    block = lines(b'{"a":1}', b'{"a":"%b"}' % (b"x" * 200), b'{"a":3}')
    assert load(tmp_path / "c", sender, [block]) == [2]
    assert [event["a"] for event in sender.events] == [1, 3]


LONG = b"123456789012345678901"  # of more than 64 bits


@pytest.mark.parametrize("id_field", [None, "d"])
def test_an_integer_of_more_than_64_bits_is_one_for_the_collector_too(tmp_path: Path, id_field: str | None) -> None:
    sender = Answering()
    assert load(tmp_path / "c", sender, [lines(b'{"d":%b}' % LONG)], maps=("d=e",), id_field=id_field) == []
    [event] = sender.events
    assert type(event["e"]) is int, "a float would be taken"
    assert event["e"] > 2**63 - 1


def test_an_events_own_id_and_time_hold_unless_fields_say_others(tmp_path: Path) -> None:
    """An extraction that is loaded again is the same events."""
    own = {"keen": {"id": "e-1", "timestamp": "2020-01-01T00:00:00Z", "created_at": "x"}, "n": 1}
    rows = [Row(1, "key-1", own), Row(2, "key-2", {"at": "2021-01-01", "no": 7})]
    taken = Taking()
    assert load(tmp_path / "a", taken, [rows]) == []
    assert [(event["keen"]["uniqueness_token"], event["keen"]["timestamp"]) for event in taken.events] == [
        ("e-1", "2020-01-01T00:00:00Z"),
        ("key-2", START),
    ]
    columns = ["keen.id=keen.id", "keen.timestamp=keen.timestamp"]
    flat = [Row(2, "key-2", {"keen.id": "e-1", "keen.timestamp": "2020-01-01T00:00:00Z", "n": 1})]
    taken = Taking()
    assert load(tmp_path / "b", taken, [flat], maps=columns) == []
    assert [(event["keen"]["uniqueness_token"], event["keen"]["timestamp"]) for event in taken.events] == [
        ("e-1", "2020-01-01T00:00:00Z")
    ]


def test_a_time_may_have_a_form_of_its_own_and_be_within_an_object(tmp_path: Path) -> None:
    rows = [
        Row(1, "a", {"meta": {"at": "12/1/2009 07:45", "id": 3.0}}),
        Row(2, "b", {"meta": {"at": "2009-12-01", "id": 4}}),
        Row(3, "c", {}),
    ]
    taken = Taking()
    fields = {"timestamp_field": "meta.at", "timestamp_format": "%m/%d/%Y %H:%M", "id_field": "meta.id"}
    assert load(tmp_path / "a", taken, [rows], **fields) == [2, 3]
    [event] = taken.events
    assert event["keen"] == {"uniqueness_token": "3", "timestamp": "2009-12-01T07:45:00"}


@pytest.mark.parametrize(
    ("form", "field", "says"),
    [
        ("%Q", "at", "none of strptime's"),
        ("%m/%m", "at", "none of"),
        ("", "at", "no year"),
        ("%H:%M", "at", "no year"),
        ("%Y", None, "missing"),
    ],
)
def test_a_form_that_no_time_has_is_said_before_anything_is_sent(form: str, field: str | None, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        check_form(form, field)
    check_form("%m/%d/%Y %H:%M %z", "at")
    check_form(None, None)


@pytest.mark.parametrize("keen", [{"id": 5}, {"id": ""}, {"uniqueness_token": ""}, {"timestamp": 0}])
def test_an_id_that_is_none_is_refused_as_the_collector_does(tmp_path: Path, keen: dict[str, Any]) -> None:
    taken = Taking()
    rejected = load(tmp_path / "a", taken, [[Row(1, "key", {"keen": keen, "n": 1})]])
    if "timestamp" in keen:  # which the collector refuses
        assert taken.events[0]["keen"]["timestamp"] == 0
    else:
        assert rejected == [1]


def test_what_folders_say_is_in_every_event(tmp_path: Path) -> None:
    taken = Taking()
    given = {"partition": {"year": 2026, "n": 0}, "id_field": "year"}
    assert load(tmp_path / "a", taken, [lines(b'{"n": 1}', b'{"m": 2}')], **given) == []
    assert [(event["year"], event["n"], event["keen"]["uniqueness_token"]) for event in taken.events] == [
        (2026, 1, "2026"),
        (2026, 0, "2026"),
    ]


def test_a_keen_that_is_no_object_is_rejected(tmp_path: Path) -> None:
    assert load(tmp_path / "c", Answering(), [[Row(1, "key-1", {"keen": "x"})]]) == [1]


def test_what_is_no_event_of_its_own_ends_the_load(tmp_path: Path) -> None:
    error = refusal(1, refused=False)
    with pytest.raises(LoadError, match="Unreachable"):
        load(tmp_path / "c", Answering(error), [[line(1, "fine")], [line(2, "fine")]])
    assert read_checkpoint(tmp_path / "c", START) == Checkpoint(START)


@pytest.mark.parametrize("done", range(10))
def test_lines_are_sent_once_wherever_requests_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: int) -> None:
    """Blank lines between, a request full after some lines, the lines of an earlier attempt left out."""
    monkeypatch.setattr(loader, "BATCH_BYTES", 90)
    texts = [b'{"a":1}', b"", b'{"a":3}', b"[]", b'{"a":5}', b" ", b"\r", b'{"a":8}', b""]
    Checkpoint(START, lines=done).save(tmp_path / "c")
    sender = Answering()
    assert load(tmp_path / "c", sender, [lines(*texts)]) == []
    wanted = [number for number in (1, 3, 4, 5, 8) if number > done]
    assert [number for request in sender.requests for number, _, _ in request] == wanted
    assert all(len(request) <= 3 for request in sender.requests)
    checkpoint = read_checkpoint(tmp_path / "c", START)
    assert (checkpoint.accepted, checkpoint.finished) == (len(wanted), True)


def test_two_lines_with_one_id_are_both_counted(tmp_path: Path) -> None:
    rows = [Row(n, f"key-{n}", {"order": "A-1"}) for n in (1, 2)]
    assert load(tmp_path / "c", Answering(refusal(1), refusal(2)), [rows], id_field="order") == [1, 2]
    assert read_checkpoint(tmp_path / "c", START).rejected == 2


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
