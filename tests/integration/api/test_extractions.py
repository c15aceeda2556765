"""Extractions as text, streamed and into files, over real connections."""

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest

from headwater.control import ControlWriter
from headwater.settings import Settings
from tests.integration.api.serving import Served, served
from tests.integration.query import oracle
from tests.integration.query.events import generated
from tests.querying import event, store, store_many
from tests.waiting import wait_until

START = 1_704_067_200_000  # 2024-01-01
HALF_A_MILLION = 500_000
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def shared_api(module_settings: Settings) -> Iterator[tuple[Served, ControlWriter]]:
    with served(module_settings, module_settings.data_dir) as running, ControlWriter(module_settings) as writer:
        yield running, writer


@pytest.fixture
def api(shared_api: tuple[Served, ControlWriter]) -> Served:
    running, writer = shared_api
    return replace(running, project=writer.create_project("test"))


def ask(http: httpx.Client, **parameters: Any) -> httpx.Response:
    answer = http.post("/queries/extraction", json={"event_collection": "c", **parameters})
    assert answer.status_code == 200, answer.text
    return answer


def test_every_form_has_the_same_events(api: Served) -> None:
    events = generated(1_200, seed=11)
    store(api.settings.clickhouse, api.project.id, "c", events)
    with api.client() as http:
        whole = ask(http).json()["result"]
        assert [one["keen"]["id"] for one in whole] == [
            one["id"] for one in sorted(events, key=lambda one: (one["timestamp"], one["id"]))
        ]
        lines = ask(http, content_type="application/x-ndjson")
        assert lines.headers["content-type"] == "application/x-ndjson"
        assert [orjson.loads(line) for line in lines.content.splitlines()] == whole
        packed = ask(http, content_type="ndjson", content_encoding="gzip")
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.content == lines.content  # httpx unpacks
        table = ask(http, content_type="text/csv")
        assert table.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
        assert len(rows) == len(whole)
        names = [name for name in rows[0] if not name.startswith("keen.")]
        assert "user.name" in names
        for row, one in zip(rows, whole, strict=True):
            assert row["keen.id"] == one["keen"]["id"]
            assert {name: row[name] for name in names} == {name: cell(one, name) for name in names}
        chosen = ask(http, content_type="text/csv", property_names=["user", "text"], latest=2).text
        assert chosen.splitlines()[0] == "user,text"


def cell(one: dict[str, Any], path: str) -> str:
    """What a cell of a CSV should hold."""
    value = oracle.value_of({"properties": one}, path)
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, str):
        return value
    return str(value) if oracle.kind(value) == "number" else orjson.dumps(value).decode()


def test_nothing_in_every_form(api: Served) -> None:
    with api.client() as http:
        assert ask(http).json() == {"result": []}
        assert ask(http, content_type="ndjson").content == b""
        assert ask(http, content_type="csv").text == "keen.timestamp,keen.created_at,keen.id\r\n"


def test_more_than_may_be_returned(settings: Settings, tmp_path: Path) -> None:
    """Refused before anything is sent, exactly beyond the limit; as lines there may be more."""
    limited = settings.model_copy(update={"extraction_max_events": 10, "extraction_max_streamed_events": 20})
    with served(limited, tmp_path) as api, api.client() as http:
        for total, as_json, as_lines in ((10, 200, 200), (11, 400, 200), (20, 400, 200), (21, 400, 400)):
            stored = [event({"n": n}, START + n) for n in range(total)]
            store(api.settings.clickhouse, api.project.id, f"c{total}", stored)
            question = {"event_collection": f"c{total}"}
            assert http.post("/queries/extraction", json=question).status_code == as_json
            lines = http.post("/queries/extraction", json=question | {"content_type": "ndjson"})
            assert lines.status_code == as_lines
            if as_lines == 400:
                assert lines.json()["error_code"] == "ExtractionLimitError"
            newest = http.post("/queries/extraction", json=question | {"latest": 10}).json()["result"]
            assert [one["n"] for one in newest] == [total - 1 - n for n in range(10)]


def test_half_a_million_events_in_bounded_memory(api: Served) -> None:
    store(api.settings.clickhouse, api.project.id, "c", [event({"n": 0, "text": "x"}, START - 1)])
    store_many(api.settings.clickhouse, api.project.id, "c", START, HALF_A_MILLION)
    process = psutil.Process(api.child.pid)
    with api.client() as http:
        ask(http, latest=5)
        before = process.memory_info().rss
        peak, count, total = before, 0, 0
        question = {"event_collection": "c", "content_type": "ndjson"}
        with http.stream("POST", "/queries/extraction", json=question) as answer:
            assert answer.status_code == 200
            for chunk in answer.iter_bytes(1 << 20):
                count += chunk.count(b"\n")
                total += len(chunk)
                peak = max(peak, process.memory_info().rss)
    assert count == HALF_A_MILLION + 1
    assert total > 100 * MEGABYTE
    assert peak - before < 40 * MEGABYTE


def test_a_file_in_place_of_an_email(api: Served) -> None:
    events = generated(300, seed=12)
    store(api.settings.clickhouse, api.project.id, "c", events)
    with ControlWriter(api.settings) as writer:
        other = writer.create_key(api.project.id, "read", "other").key
    with api.client() as http, api.client(other) as stranger, api.client(api.project.master_key) as master:
        reply = ask(http, email="ann@example.com", content_type="csv", property_names="keen.id").json()
        assert "Processing" in reply["result"]
        path = f"/extractions/{reply['extraction']['id']}"
        done = wait_until(lambda: (about := http.get(path).json())["status"] == "done" and about, 30)
        file = http.get(f"{path}/file")
        assert file.headers["content-type"] == "application/gzip"
        assert done["bytes"] == len(file.content)
        lines = gzip.decompress(file.content).decode().splitlines()
        assert set(lines[1:]) == {one["id"] for one in events}
        assert [one["id"] for one in http.get("/extractions").json()["extractions"]] == [done["id"]]
        assert master.get("/extractions").json() == http.get("/extractions").json()
        assert stranger.get("/extractions").json() == {"extractions": []}
        assert stranger.get(f"{path}/file").status_code == 404
        assert http.get("/extractions/../x").status_code == 404
        assert not any(b"ann@example" in each.read_bytes() for each in api.settings.data_dir.rglob("about.json"))


def test_files_outlive_restarts_and_end(settings: Settings, tmp_path: Path) -> None:
    """One that was under way when the process was killed is written by the next; old ones are no more."""
    with served(settings, tmp_path) as api, api.client() as http:
        store(settings.clickhouse, api.project.id, "c", [event({"n": n}, START + n) for n in range(50)])
        project = api.project
        done = ask(http, email="a@b").json()["extraction"]["id"]
        wait_until(lambda: http.get(f"/extractions/{done}").json()["status"] == "done", 30)
    about = next(tmp_path.glob(f"extractions/*/{done}/about.json"))
    noted = orjson.loads(about.read_bytes())
    left = about.parent.parent / ("f" * 32)
    left.mkdir()
    unfinished = {name: value for name, value in noted.items() if name not in ("finished", "file", "bytes")}
    (left / "about.json").write_bytes(orjson.dumps(unfinished | {"id": "f" * 32, "status": "processing"}))
    (left / "part").write_bytes(b"half")
    odd = left.with_name("e" * 32)  # of a version that had other rules
    odd.mkdir()
    (odd / "about.json").write_bytes(
        orjson.dumps(unfinished | {"id": odd.name, "status": "processing", "parameters": {}})
    )
    damaged = left.with_name("d" * 32)
    damaged.mkdir()
    (damaged / "about.json").write_bytes(b'{"id":')
    with served(settings, tmp_path, project) as api, api.client() as http:
        path = f"/extractions/{'f' * 32}"
        wait_until(lambda: http.get(path).json()["status"] == "done", 30)
        wait_until(lambda: http.get(f"/extractions/{odd.name}").json()["status"] == "failed", 30)
        assert http.get(f"/extractions/{damaged.name}").status_code == 404
        files = [gzip.decompress(http.get(f"/extractions/{each}/file").content) for each in ("f" * 32, done)]
        assert files[0] == files[1]
        assert len(orjson.loads(files[0])["result"]) == 50
        about.write_bytes(orjson.dumps(noted | {"finished": noted["finished"] - 31 * 86_400_000}))
        assert http.get(f"/extractions/{done}").status_code == 404
        assert not about.parent.exists()
