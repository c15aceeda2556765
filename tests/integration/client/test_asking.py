"""Funnels, figures and retention asked from Python and on the command line, over HTTP and of ClickHouse itself."""

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import headwater
from headwater.client.errors import ConnectError
from headwater.client.questions import Deed, Measure, Step
from headwater.query import QueryError
from headwater.settings import Settings
from tests.integration.api.serving import Served, served
from tests.querying import event, store

DAY = 86_400_000
START = 1_704_067_200_000  # 2024-01-01, a Monday
FRAME: Any = {"start": "2024-01-01T00:00:00Z", "end": "2024-01-03T00:00:00Z"}
VISIT: Step = {"event_collection": "visits", "actor_property": "user.id"}
BUY: Step = {"event_collection": "purchases", "actor_property": "buyer", "with_actors": True}
CAME: Deed = {"event_collection": "visits", "actor_property": "user.id"}
FIGURES: dict[str, Measure] = {
    "orders": {"analysis_type": "count"},
    "revenue": {"analysis_type": "sum", "target_property": "price"},
}


@pytest.fixture(scope="module")
def api(module_settings: Settings) -> Iterator[Served]:
    """Three visitors on Monday, of whom ann comes back on Tuesday and buys; bob bought before he visited."""
    with served(module_settings, module_settings.data_dir) as running:
        visits = [("ann", 1), ("bob", 2), ("cid", 3), ("ann", 25)]
        bought = [("ann", 26, 5), ("bob", 1, 2.5)]
        hour = DAY // 24
        where = (module_settings.clickhouse, running.project.id)
        store(*where, "visits", [event({"user": {"id": who}}, START + at * hour) for who, at in visits])
        store(*where, "purchases", [event({"buyer": who, "price": p}, START + at * hour) for who, at, p in bought])
        yield running


def test_both_ways_answer_the_same(api: Served) -> None:
    project = {"project_id": api.project.id}
    over_http = headwater.connect(f"http://127.0.0.1:{api.settings.port}", read_key=api.project.read_key, **project)
    direct = headwater.connect(clickhouse=api.settings.clickhouse, **project)
    with over_http, direct:
        for hw in (over_http, direct):
            funnel = hw.funnel([VISIT, BUY], timeframe=FRAME)
            assert funnel.value["result"] == [3, 2]
            assert funnel.value["actors"] == [None, ["ann", "bob"]]
            assert funnel.to_pandas()["result"].tolist() == [3, 2]
            assert hw.funnel([VISIT, BUY], timeframe=FRAME, ordered=True).value["result"] == [3, 1]
            assert hw.funnel([VISIT, BUY], timeframe=FRAME, window="1 day").value["result"] == [3, 1]
            assert hw.funnel([VISIT, VISIT], timeframe=FRAME, window="1 hour").value["result"] == [3, 0]
            figures = hw.multi_analysis("purchases", FIGURES, timeframe=FRAME)
            assert figures.value == {"orders": 2, "revenue": 7.5}
            daily = hw.multi_analysis("purchases", FIGURES, timeframe=FRAME, interval="daily").to_pandas()
            assert daily[["orders", "revenue"]].values.tolist() == [[1, 2.5], [1, 5]]
            retention = hw.retention(CAME, timeframe=FRAME, units=1)
            assert [(row["actors"], row["returned"]) for row in retention.value] == [(3, [0, 1]), (0, [0, 0])]
            assert retention.to_pandas()["returned"].tolist() == [0, 1, 0, 0]
            assert figures.metadata is not None
            assert (figures.metadata["events_scanned"], figures.metadata["properties_per_event"]) == (2, 2)
            with pytest.raises(QueryError, match=r"steps\[0\].actor_property"):
                hw.funnel([{"event_collection": "visits"}])
            with pytest.raises(TypeError, match="interval"):
                hw.funnel([VISIT], interval="daily")  # type: ignore[call-arg]


async def test_what_is_awaited_is_what_the_others_answer(api: Served) -> None:
    options: Any = {"project_id": api.project.id, "read_key": api.project.read_key}
    url = f"http://127.0.0.1:{api.settings.port}"
    with headwater.connect(url, **options) as hw:
        wanted = [
            hw.count("visits", timeframe=FRAME, interval="daily", group_by="user.id"),
            hw.sum("purchases", "price", group_by="buyer"),
            hw.multi_analysis("purchases", FIGURES, timeframe=FRAME),
            hw.funnel([VISIT, BUY], timeframe=FRAME, window="1 day"),
            hw.retention(CAME, timeframe=FRAME, units=1),
            hw.extraction("visits", latest=2),
        ]
    async with headwater.connect_async(url, **options) as twin:
        found = await asyncio.gather(
            twin.count("visits", timeframe=FRAME, interval="daily", group_by="user.id"),
            twin.sum("purchases", "price", group_by="buyer"),
            twin.multi_analysis("purchases", FIGURES, timeframe=FRAME),
            twin.funnel([VISIT, BUY], timeframe=FRAME, window="1 day"),
            twin.retention(CAME, timeframe=FRAME, units=1),
            twin.extraction("visits", latest=2),
        )
        assert [one.value for one in found] == [one.value for one in wanted]
        assert found[0].to_pandas().equals(wanted[0].to_pandas())
        assert found[1].value == [{"buyer": "ann", "result": 5}, {"buyer": "bob", "result": 2.5}]
        with pytest.raises(QueryError, match=r"steps\[0\].actor_property"):
            await twin.funnel([{"event_collection": "visits"}])
        with pytest.raises(TypeError, match="interval"):
            await twin.funnel([VISIT], interval="daily")  # type: ignore[call-arg]
        with pytest.raises(ConnectError, match="write_key"):
            await twin.add_event("visits", {})
    async with headwater.connect_async(url, api.project.id, read_key="0" * 64) as stranger:
        with pytest.raises(QueryError) as refused:
            await stranger.count("visits")
        assert refused.value.status == 401


def test_questions_and_keys_are_kept_by_both_clients(api: Served, tmp_path: Path) -> None:
    options: Any = {"project_id": api.project.id, "master_key": api.project.master_key}
    url = f"http://127.0.0.1:{api.settings.port}"
    with asyncio.Runner() as loop:
        twin = loop.run(_made(lambda: headwater.connect_async(url, **options)))
        with headwater.connect(url, **options) as hw:
            keep_and_ask(url, api.project.id, lambda name, *given, **more: getattr(hw, name)(*given, **more))
            extract(tmp_path / "one", lambda name, *given, **more: getattr(hw, name)(*given, **more))
        keep_and_ask(url, api.project.id, lambda name, *given, **more: loop.run(getattr(twin, name)(*given, **more)))
        extract(tmp_path / "other", lambda name, *given, **more: loop.run(getattr(twin, name)(*given, **more)))
        loop.run(twin.close())


def extract(path: Path, do: Callable[..., Any]) -> None:
    """An extraction into a file, and one that cannot be."""
    about = do(
        "extract_to_file", "purchases", content_type="text/csv", property_names=["buyer", "price"], timeframe=FRAME
    )
    assert do("save_extraction", about["id"], path, timeout=30) == path
    assert gzip.decompress(path.read_bytes()).decode().splitlines() == ["buyer,price", "bob,2.5", "ann,5"]
    assert do("extractions")[0]["id"] == about["id"]
    with pytest.raises(QueryError, match="no such extraction"):
        do("save_extraction", "0" * 32, path)
    with pytest.raises(TypeError, match="interval"):
        do("extract_to_file", "purchases", interval="daily")


async def _made(make: Callable[[], Any]) -> Any:
    return make()


def keep_and_ask(url: str, project_id: str, do: Callable[..., Any]) -> None:
    """Every method that has to do with what is kept; nothing is left."""
    spent = {"analysis_type": "sum", "event_collection": "purchases", "target_property": "price"}
    monday = datetime(2024, 1, 1, tzinfo=UTC)
    days = {"timeframe": {"start": monday, "end": monday + timedelta(days=2)}, "interval": "daily"}
    saved = do("save_query", "spent", {**spent, **days}, refresh_rate=86_400, metadata={"display_name": "Spent"})
    assert saved == do("saved_query", "spent") == do("saved_queries")[0]
    assert (saved["refresh_rate"], saved["metadata"]) == (86_400, {"display_name": "Spent"})
    result = do("saved_result", "spent")
    assert result.to_pandas()["result"].tolist() == [2.5, 5]
    assert result.metadata is not None
    do("delete_saved_query", "spent")
    with pytest.raises(QueryError, match="no such saved query"):
        do("saved_result", "spent")

    made = do("create_dataset", "by-buyer", {**spent, **days}, "buyer", display_name="Buyers")
    assert (made["index_by"], made["display_name"]) == (["buyer"], "Buyers")
    assert do("dataset", "by-buyer")["query"] == made["query"]
    assert [one["dataset_name"] for one in do("datasets")] == ["by-buyer"]
    for index in ("ann", ["ann"], {"buyer": "ann"}):
        found = do("dataset_result", "by-buyer", index, days["timeframe"])
        assert found.to_pandas()["result"].tolist() == [0, 5]
    do("delete_dataset", "by-buyer")
    assert do("datasets") == do("deletions") == []

    of_ann = {"queries": {"filters": [{"property_name": "buyer", "operator": "eq", "property_value": "ann"}]}}
    key = do("create_access_key", "of ann", ["queries"], options=of_ann)
    assert key == do("access_key", key["key"]) == do("access_keys", "of ann")[0]
    assert do("access_keys", "of bob") == []
    with headwater.connect(url, project_id, read_key=key["key"]) as ann:
        assert ann.count("purchases").value == 1
        assert not do("revoke_access_key", key["key"])["is_active"]
        assert do("unrevoke_access_key", key["key"])["is_active"]
        assert do("replace_access_key", key["key"], "of all", ["queries"])["options"]["queries"] is None
        assert ann.count("purchases").value == 2
        do("delete_access_key", key["key"])
        with pytest.raises(QueryError) as refused:
            ann.count("purchases")
        assert refused.value.status == 401
    assert do("access_keys") == []


def test_the_statement_is_shown_where_clickhouse_is_asked(api: Served) -> None:
    with headwater.connect(clickhouse=api.settings.clickhouse, project_id=api.project.id) as hw:
        of_ann = {"property_name": "buyer", "operator": "eq", "property_value": "ann"}
        shown = hw.sum("purchases", target_property="price", filters=[of_ann]).sql
        assert shown is not None
        assert shown.startswith("SELECT")
        assert " = 'ann'" in shown.partition("\n-- ")[2]
        for asked in (hw.funnel([VISIT, BUY]), hw.retention(CAME, timeframe=FRAME), hw.extraction("visits")):
            assert asked.sql is not None
            assert asked.sql.startswith("SELECT")
        assert hw.funnel([{"event_collection": "nothing", "actor_property": "a"}]).sql == ""
    with headwater.connect(
        f"http://127.0.0.1:{api.settings.port}", api.project.id, read_key=api.project.read_key
    ) as hw:
        assert hw.count("visits").sql is None


def test_a_funnel_has_keens_reply(api: Served) -> None:
    """By GET with JSON text and by POST; beside `result`, steps and actors."""
    steps = [VISIT, BUY]
    with api.client() as http:
        posted = http.post("/queries/funnel", json={"steps": steps, "timeframe": FRAME, "timezone": 3600}).json()
        got = http.get("/queries/funnel", params={"steps": json.dumps(steps), "timeframe": json.dumps(FRAME)})
    assert posted["result"] == got.json()["result"] == [3, 2]
    assert posted.keys() == {"result", "steps", "actors"}
    assert posted["steps"][1] == {
        "event_collection": "purchases", "actor_property": "buyer", "timeframe": FRAME, "timezone": 3600, "filters": [],
        "inverted": False, "optional": False, "with_actors": True,
    }  # fmt: skip


def test_on_the_command_line(api: Served, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")} | {
        "HEADWATER_URL": f"http://127.0.0.1:{api.settings.port}",
        "HEADWATER_PROJECT_ID": api.project.id,
        "HEADWATER_READ_KEY": api.project.read_key,
    }
    (tmp_path / "funnel.json").write_text(json.dumps({"steps": [VISIT, BUY]}))

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "headwater.cli", "query", *arguments, "--data-dir", str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    frame = ("--timeframe", json.dumps(FRAME), "--format", "json")
    assert json.loads(run("funnel", "--definition", str(tmp_path / "funnel.json"), *frame))["result"] == [3, 2]
    analyses = json.dumps({"analyses": FIGURES})
    assert json.loads(run("multi_analysis", "purchases", "--definition", analyses, *frame))["orders"] == 2
    retention = json.dumps({"event_collection": "visits", "actor_property": "user.id", "units": 1})
    csv = run("retention", "--definition", retention, "--timeframe", json.dumps(FRAME), "--format", "csv").splitlines()
    assert csv[0] == "start,end,actors,unit,returned"
    assert len(csv) == 5
    assert "purchases" in run("funnel", "--definition", str(tmp_path / "funnel.json"))  # as a table
    assert "not JSON" in run("funnel", "--definition", "{", code=2)


def test_the_served_analyses_are_all(api: Served) -> None:
    with api.client() as http:
        links: dict[str, str] = http.get("/queries").json()
    assert {"multi_analysis", "funnel", "retention", "extraction"} <= {
        path.rsplit("/", 1)[1] for path in links.values()
    }
    assert isinstance(links["funnel_url"], str)
    assert httpx.URL(links["retention"]).path.endswith("/queries/retention")
