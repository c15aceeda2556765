"""`headwater load` and `headwater query`, against a whole stack."""

import csv
import gzip
import io
import json
import signal
import subprocess
from pathlib import Path

import pyarrow
import pytest
from confluent_kafka import Consumer, TopicPartition
from pyarrow import parquet

from tests.local_http import HTTP
from tests.stack import RunningStack, environment
from tests.waiting import wait_until

EVENTS = 150_000  # enough that a load of them can be interrupted on a quick machine

pytestmark = pytest.mark.timeout(600)


def count(stack: RunningStack, collection: str) -> int:
    with stack.client() as hw:
        answer: int = hw.count(collection).value
        return answer


def lines(number: int) -> bytes:
    return b"".join(b'{"n": %d, "at": %d, "text": "%s"}\n' % (n, 1769860800 + n, b"x" * 200) for n in range(number))


def test_an_interrupted_load_goes_on_and_doubles_nothing(stack: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(lines(EVENTS))
    command = stack.command("load", str(file), "--collection", "resumed", "--timestamp-field", "at")
    first = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    loads = stack.data_dir / "loads"
    before = set(loads.glob("*")) if loads.is_dir() else set()
    checkpoint = wait_until(lambda: next(iter(set(loads.glob("*.json")) - before), None), 60, every=0.01)
    wait_until(lambda: json.loads(checkpoint.read_bytes())["lines"], 60, every=0.01)
    first.send_signal(signal.SIGINT)
    output = first.communicate(timeout=60)[0].decode()
    assert first.returncode == 130, output
    assert 0 < json.loads(checkpoint.read_bytes())["lines"] < EVENTS

    again = stack.run("load", str(file), "--collection", "resumed", "--timestamp-field", "at")
    assert "Going on after line" in again.stderr
    assert f"{EVENTS:,} events accepted, 0 lines rejected" in again.stderr
    wait_until(lambda: count(stack, "resumed") == EVENTS, 180, every=0.2)
    total = stack.run("query", "sum", "resumed", "--target-property", "n", "--format", "json").stdout
    assert json.loads(total) == sum(range(EVENTS))

    # A copy under another name, zipped or not, was loaded before in its plain form only: the ids are those of the content.
    copy = tmp_path / "copy"
    copy.write_bytes(file.read_bytes())
    done = stack.run("load", str(copy), "--collection", "resumed", "--timestamp-field", "at")
    assert "Nothing to do" in done.stderr


def test_what_is_piped_is_sent_while_it_comes_and_doubles_nothing(stack: RunningStack) -> None:
    content = b"".join(b'{"n": %d, "text": "%s"}\n' % (number, b"x" * 200) for number in range(10_000))
    command = stack.command("load", "-", "--collection", "piped")
    pipe = subprocess.PIPE
    first = subprocess.Popen(command, env=environment(), stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
    assert first.stdin is not None
    first.stdin.write(content)
    first.stdin.flush()
    wait_until(lambda: count(stack, "piped") == 10_000, 60, every=0.2)
    assert first.poll() is None
    first.send_signal(signal.SIGINT)
    output = first.communicate(timeout=60)[0].decode()
    assert first.returncode == 130, output
    grown = content + b'{"n": 10000}\n'
    assert "10,001 events accepted" in stack.run("load", "-", "--collection", "piped", stdin=grown).stderr
    wait_until(lambda: count(stack, "piped") == 10_001, 60, every=0.2)


def test_history_is_loaded_beside_live_events(stack: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "history.ndjson"
    file.write_bytes(lines(10_000))
    options = ("--collection", "history", "--timestamp-field", "at", "--backfill")
    assert "10,000 events accepted" in stack.run("load", str(file), *options).stderr
    wait_until(lambda: count(stack, "history") == 10_000, 60, every=0.2)
    state = json.loads(stack.run("status", "--json").stdout)
    consumer = Consumer({"bootstrap.servers": state["kafka"], "group.id": "headwater.backfill"})
    topic = "headwater.raw.backfill"
    partitions = [TopicPartition(topic, number) for number in consumer.list_topics(topic, 10).topics[topic].partitions]
    # The group's offsets tell Kafka's tools that nothing waits.
    wait_until(lambda: sum(max(0, each.offset) for each in consumer.committed(partitions, 10)) == 10_000)
    consumer.close()


def test_rejected_lines_are_reported_with_their_numbers(stack: RunningStack) -> None:
    content = b'{"fine": 1}\nnonsense\n{"a.b": 1}\n{"fine": 2}\n'
    done = stack.run("load", "-", "--collection", "rejects", stdin=content, code=1)
    reported = [line for line in done.stderr.splitlines() if line.startswith("line ")]
    assert sorted(line.partition(":")[0] for line in reported) == ["line 2", "line 3"]
    assert "InvalidPropertyNameError" in done.stderr
    assert "2 events accepted, 2 lines rejected" in done.stderr
    stack.run("load", "-", "--collection", "rejects", stdin=content, code=1)
    wait_until(lambda: count(stack, "rejects") == 2, 30, every=0.2)


def test_a_field_without_a_name_is_refused(stack: RunningStack) -> None:
    """As a variable of a shell that is not set is: events would get ids and times of their own, others at each attempt."""
    for option in ("--id-field", "--timestamp-field"):
        done = stack.run("load", "-", "--collection", "rejects", option, "", stdin=b'{"a": 1}\n', code=1)
        assert "take the name of a field" in done.stderr


def test_fields_give_id_and_time(stack: RunningStack) -> None:
    content = gzip.compress(
        b"order,when,zip\nA-1,2026-01-31T12:00:00Z,02134\nA-2,2026-01-31T12:00:01Z,10001\nA-1,2026-01-31T12:00:00Z,02134\n"
    )
    options = ("--collection", "orders", "--id-field", "order", "--timestamp-field", "when")
    stack.run("load", "-", *options, stdin=content)
    wait_until(lambda: count(stack, "orders") == 2, 30, every=0.2)
    printed = stack.run(
        "query",
        "extraction",
        "orders",
        "--property-name",
        "order",
        "--property-name",
        "keen.timestamp",
        "--property-name",
        "zip",
        "--format",
        "csv",
    ).stdout
    rows = sorted(csv.DictReader(io.StringIO(printed)), key=lambda row: row["order"])
    assert [(row["order"], row["keen.timestamp"], row["zip"]) for row in rows] == [
        ("A-1", "2026-01-31T12:00:00.000Z", "02134"),
        ("A-2", "2026-01-31T12:00:01.000Z", "10001"),
    ]


def test_a_folder_of_files_of_every_kind_with_columns_under_other_names(stack: RunningStack, tmp_path: Path) -> None:
    (tmp_path / "2026" / ".hidden").mkdir(parents=True)
    (tmp_path / "a.csv").write_text("who,n,junk\nann,1,x\nbob,2,y\n")
    with gzip.open(tmp_path / "2026" / "b.jsonl.gz", "wb") as file:
        file.write(b'{"who": "cid", "n": 3, "junk": 1}\n')
    # What is left out is not read: bytes that would be no property do no harm there.
    table = pyarrow.table({"who": ["dan", None], "n": [4, 5], "junk": [b"\xff", b"\xff"], "raw": [b"\xff", None]})
    parquet.write_table(table, tmp_path / "2026" / "c.parquet")
    (tmp_path / "d.json").write_text("[1]")
    (tmp_path / "2026" / ".hidden" / "e.csv").write_text("n\n6\n")
    options = ("--collection", "folder", "--map", "who=user.name", "--map", "junk=", "--senders", "2")
    done = stack.run("load", str(tmp_path), *options, code=1)
    assert "d.json: it begins with a bracket" in done.stderr
    assert done.stderr.count("events accepted") == 3
    assert "line 1: has bytes that are not UTF-8" in done.stderr
    wait_until(lambda: count(stack, "folder") == 4, 30, every=0.2)
    with stack.client() as hw:
        found = hw.extraction("folder", property_names=["user.name", "n", "junk"]).value
    people = {one["n"]: one.get("user", {}).get("name") for one in found}
    assert people == {1: "ann", 2: "bob", 3: "cid", 5: None}
    assert not any("junk" in one for one in found)
    (tmp_path / "d.json").unlink()
    again = stack.run("load", str(tmp_path), *options, code=1)  # the row that was rejected is tried again
    assert again.stderr.count("Nothing to do") == 2


def test_files_as_others_write_them(stack: RunningStack, tmp_path: Path) -> None:
    """Every option for delimited text at once, in folders that say something themselves; and an extraction that is loaded again."""
    for year, price in ((2009, "2.5"), (2010, "NA")):
        folder = tmp_path / "lake" / f"year={year}"
        folder.mkdir(parents=True)
        (folder / "x.csv").write_bytes(f"{year}01;{price};12/1/{year} 07:45;£5\n".encode("latin-1"))
    (tmp_path / "lake" / "_SUCCESS").write_text("")
    fields = ("--collection", "retail", "--id-field", "Invoice", "--timestamp-field", "At")
    form = ("--timestamp-format", "%m/%d/%Y %H:%M")
    written = (
        "--delimiter",
        ";",
        "--encoding",
        "latin-1",
        "--header",
        "Invoice,Price,At,Note",
        "--null",
        "NA",
        "--text",
        "Invoice",
    )
    done = stack.run("load", str(tmp_path / "lake"), *fields, *form, *written)
    assert "Not loaded, by their names: _SUCCESS" in done.stderr
    wait_until(lambda: count(stack, "retail") == 2, 30, every=0.2)
    with stack.client() as hw:
        found = {one["Invoice"]: one for one in hw.extraction("retail").value}
        assert found["200901"]["keen"]["timestamp"] == "2009-12-01T07:45:00.000Z"
        assert [found[each].get("Price") for each in ("200901", "201001")] == [2.5, None]
        assert [found[each]["year"] for each in ("200901", "201001")] == [2009, 2010]
        assert {one["Note"] for one in found.values()} == {"£5"}
        again = tmp_path / "again.ndjson"
        again.write_text("".join(json.dumps(one) + "\n" for one in found.values()))
        assert "2 events accepted, 0 lines" in stack.run("load", str(again), "--collection", "retail").stderr
        extraction = f"{stack.status['url']}/3.0/projects/{stack.status['project_id']}/queries/extraction"
        read_key = {"Authorization": stack.status["read_key"]}
        answer = tmp_path / "answer.json"
        answer.write_bytes(HTTP.get(extraction, params={"event_collection": "retail"}, headers=read_key).content)
        assert "2 events accepted, 0 lines" in stack.run("load", str(answer), "--collection", "retail").stderr
        table = tmp_path / "table.csv"
        table.write_text(stack.run("query", "extraction", "retail", "--format", "csv").stdout)
        assert "2 events accepted, 0 lines" in stack.run("load", str(table), "--collection", "retail").stderr
        stack.run("load", "-", "--collection", "retail", stdin=b'{"last": 1}\n')
        wait_until(lambda: count(stack, "retail") == 3, 30, every=0.2)
    assert (
        "no column 'when'"
        in stack.run("load", str(tmp_path / "lake"), *fields, *written, "--map", "when=", code=1).stderr
    )


def test_exports_whose_names_no_property_may_have(stack: RunningStack, tmp_path: Path) -> None:
    """As Mixpanel exports events, and MongoDB documents as an array."""
    mixpanel, mongo = tmp_path / "mixpanel.ndjson", tmp_path / "mongo.json"
    mixpanel.write_text(
        '{"event": "Signed Up", "properties": {"time": 1769860800, "$insert_id": "a1", "$city": "Oslo", "mp.lib": "web"}}\n'
    )
    mongo.write_text('[{"_id": {"$oid": "5f"}, "total": 7, "at": {"$date": "2026-01-31T12:00:00Z"}}]')
    signups = ("--collection", "signups", "--timestamp-field", "properties.time", "--id-field", "properties.$insert_id")
    assert "0 events accepted, 1 lines rejected" in stack.run("load", str(mixpanel), *signups, code=1).stderr
    for again in ("1 events accepted, 0 lines", "Nothing to do"):
        assert again in stack.run("load", str(mixpanel), *signups, "--fix-names").stderr
    documents = ("--collection", "documents", "--timestamp-field", "at.$date", "--fix-names")
    assert "no row that was read has 'gone'" in stack.run("load", str(mongo), *documents, "--map", "gone=").stderr
    wait_until(lambda: count(stack, "signups") == 1 and count(stack, "documents") == 1, 30, every=0.2)
    with stack.client() as hw:
        [signup], [document] = (hw.extraction(name).value for name in ("signups", "documents"))
    assert signup["properties"]["_city"] == "Oslo"
    assert signup["properties"]["mp_lib"] == "web"
    assert signup["keen"]["timestamp"] == "2026-01-31T12:00:00.000Z"
    assert document["_id"] == {"_oid": "5f"}
    assert document["keen"]["timestamp"] == "2026-01-31T12:00:00.000Z"


def test_a_question_on_the_command_line(stack: RunningStack) -> None:
    events = b"".join(
        b'{"page": "/%d", "ms": %d, "at": "2026-01-%02dT00:00:00Z"}\n' % (n % 3, n, 1 + n % 2) for n in range(30)
    )
    stack.run("load", "-", "--collection", "pages", "--timestamp-field", "at", stdin=events)
    wait_until(lambda: count(stack, "pages") == 30, 30, every=0.2)
    question = ("query", "sum", "pages", "--target-property", "ms", "--group-by", "page", "--order-by", "result:DESC")
    table = stack.run(*question, "--limit", "2", "--filter", "ms gte 3", "--filter", 'page in ["/1", "/2"]').stdout
    assert table.index("/2") < table.index("/1")
    assert "153" in table
    daily = stack.run(
        *question[:5],
        "--timeframe",
        '{"start": "2026-01-01", "end": "2026-01-03"}',
        "--interval",
        "daily",
        "--format",
        "json",
    ).stdout
    assert [bucket["value"] for bucket in json.loads(daily)] == [sum(range(0, 30, 2)), sum(range(1, 30, 2))]
    wrong = stack.run("query", "sum", "pages", code=1)
    assert "target_property" in wrong.stderr
    assert wrong.stdout == ""
