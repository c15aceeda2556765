"""The notebooks in examples/ run as a newcomer runs them, and what they show follows from the events that they send."""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import game
import nbformat
import open_source
import pytest
import saas
import shop
from nbclient import NotebookClient

from headwater.demo.flights import flights_file, read_flights
from tests.stack import RunningStack

EXAMPLES = Path(__file__).parents[2] / "examples"
CELL_SECONDS = 120
END = "warnings.resetwarnings()"  # what the kernel itself does when it ends is not the notebook's

Event = dict[str, Any]
Run = Callable[[str, str], Any]


@pytest.fixture
def run(stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a notebook of a checkout that has the stack's state where `headwater up` keeps it, warnings being errors; gives
    the value of an expression over what its cells have made."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    (tmp_path / ".headwater").symlink_to(stack.data_dir)
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))

    def executed(name: str, expression: str) -> Any:
        notebook = nbformat.read(tmp_path / "examples" / name, as_version=4)
        assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []
        notebook.cells.insert(0, nbformat.v4.new_code_cell("import warnings\nwarnings.simplefilter('error')"))
        notebook.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({expression}))\n{END}"))
        place = {"metadata": {"path": str(tmp_path / "examples")}}
        NotebookClient(notebook, timeout=CELL_SECONDS, kernel_name="python3", resources=place).execute()
        figures = [cell for cell in notebook.cells if "show(" in cell.source and "import" not in cell.source]
        assert figures
        for cell in figures:
            assert any("application/vnd.bokehjs_exec.v0+json" in output.get("data", {}) for output in cell.outputs)
        return json.loads(notebook.cells[-1].outputs[0].text)

    return executed


def when(event: Event) -> datetime:
    return datetime.fromisoformat(event["keen"]["timestamp"])


def week_of(event: Event) -> int:
    return (when(event) - saas.START).days // 7


def actors(events: Iterable[Event], path: str) -> set[str]:
    found = set()
    for event in events:
        value: Any = event
        for key in path.split("."):
            value = value[key]
        found.add(value)
    return found


def total(events: Iterable[Event], group: Callable[[Event], Any], amount: str) -> dict[Any, float]:
    sums: defaultdict[Any, float] = defaultdict(float)
    for event in events:
        sums[group(event)] += event[amount]
    return dict(sums)


def test_the_service(run: Run) -> None:
    shown = run(
        "saas.ipynb",
        "{'activation': activation.value['result'], 'churn': churn.fillna(0).reset_index(drop=True).to_dict('list'),"
        " 'revenue': revenue.to_pandas()['result'].unstack('plan').sum().to_dict(), 'by_age': by_age.tolist()}",
    )
    events = saas.events()
    reached = [0, 0, 0]
    for created in events["create_account"]:
        account, limit = created["account"], when(created) + timedelta(days=14)
        used = [when(one) for one in events["use_feature"] if one["account"] == account and when(one) <= limit]
        subscribed = [when(one) for one in events["subscribe"] if one["account"] == account and when(one) <= limit]
        reached[0] += 1
        reached[1] += bool(used)
        reached[2] += bool(used) and any(one > min(used) for one in subscribed)
    assert shown["activation"] == reached
    assert shown["revenue"] == total(events["invoice_payment"], lambda one: one["plan"], "amount")

    for column, collection in (("paying", "invoice_payment"), ("leaving", "cancel_subscription")):
        by_month = [[one for one in events[collection] if when(one).month == month] for month in (1, 2, 3)]
        assert shown["churn"][column] == [len(actors(month, "account.id")) for month in by_month]
    assert shown["churn"]["leaving"][0] == 0

    cohorts = {one["account"]["id"]: when(one) for one in events["create_account"] if week_of(one) < 6}
    ages = {
        (account, week_of(one) - (cohorts[account] - saas.START).days // 7)
        for one in events["use_feature"]
        if (account := one["account"]["id"]) in cohorts and when(one) > cohorts[account]
    }
    returned = Counter(age for _, age in ages)
    assert shown["by_age"] == pytest.approx([returned[age] / len(cohorts) for age in range(7)])


def test_the_shop(run: Run) -> None:
    shown = run(
        "shop.ipynb",
        "{'cart': cart.value['result'], 'lost': {one['item.category']: one['result'] for one in lost.value},"
        " 'revenue': revenue.to_pandas()['result'].unstack('item.category').sum().to_dict(),"
        " 'weeks': [one['timeframe']['start'] for one in revenue.value], 'repeat': repeat, 'sizes': sizes.value}",
    )
    events = shop.events()
    looked, took, bought = (actors(events[name], "session") for name in ("view_item", "add_to_cart", "checkout"))
    assert shown["cart"] == [len(looked), len(looked & took), len(looked & took & bought)]
    left = [one | one["item"] for one in events["add_to_cart"] if one["session"] not in bought]
    assert shown["lost"] == pytest.approx(total(left, lambda one: one["category"], "price"))
    revenue = total(events["purchase"], lambda one: one["item"]["category"], "revenue")
    assert shown["revenue"] == pytest.approx(revenue)
    # The last week begins on the Sunday on which clocks are put forward, at midnight still.
    assert shown["weeks"][-1] == "2026-03-29T00:00:00.000+01:00"
    orders = Counter(one["customer"]["id"] for one in events["checkout"])
    assert shown["repeat"] == pytest.approx(sum(count > 1 for count in orders.values()) / len(orders))
    sizes = Counter(sum(one["total"] >= bound for bound in (20, 50, 100)) for one in events["checkout"])
    assert [one["result"] for one in shown["sizes"]] == [sizes[index] for index in range(4)]


def test_the_game(run: Run) -> None:
    shown = run(
        "game.ipynb",
        "{'by_day': by_day.tolist(), 'levels': levels.value['result'], 'hardest': int(difficulty['won'].idxmin()),"
        " 'arpdau': arpdau.tolist(), 'payers': payers}",
    )
    events = game.events()
    days: defaultdict[str, set[int]] = defaultdict(set)
    for one in events["level_start"]:
        days[one["player"]["id"]].add(when(one).toordinal())
    new = {one["player"]["id"]: when(one).toordinal() for one in events["new_player"]}
    shares = [sum(day + k in days[player] for player, day in new.items()) / len(new) for k in range(8)]
    assert shown["by_day"] == pytest.approx(shares)

    won = [actors((one for one in events["level_complete"] if one["level"] == n), "player.id") for n in range(1, 11)]
    assert shown["levels"] == [len(set.intersection(*won[:n])) for n in range(1, 11)]
    assert shown["hardest"] == min(game.WINS, key=lambda level: game.WINS[level]) == 6

    spent = total(events["in_game_purchase"], lambda one: when(one).toordinal(), "price")
    active = Counter(day for played in days.values() for day in played)
    first = game.START.toordinal()
    assert shown["arpdau"] == pytest.approx(
        [spent.get(day, 0) / active[day] for day in range(first, first + game.DAYS)]
    )
    assert shown["payers"] == len(actors(events["in_game_purchase"], "player.id"))


def test_the_flights(run: Run) -> None:
    shown = run(
        "flights.ipynb",
        "{'hours': {one['hour']: one['result'] for one in by_hour.value}, 'cancelled': cancelled.to_dict(),"
        " 'arrivals': arrivals.value, 'days': [one['timeframe']['start'] for one in days.value],"
        " 'airlines': {one['carrier']: one['mean_delay'] for one in airlines.value}}",
    )
    start, end = "2013-01-25T05:00:00Z", "2013-02-01T05:00:00Z"
    january = takewhile(lambda one: one.properties["month"] == 1, read_flights(flights_file()))
    flights = [one.properties for one in january if start <= one.timestamp < end]

    def means(name: str) -> dict[str, float]:
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for one in flights:
            if "dep_delay" in one:
                groups[str(one[name])].append(one["dep_delay"])
        return {group: sum(delays) / len(delays) for group, delays in groups.items()}

    assert shown["hours"] == pytest.approx(means("hour"))
    assert shown["airlines"] == pytest.approx(means("carrier"))
    assert shown["cancelled"] == Counter(one["origin"] for one in flights if "dep_time" not in one)
    late = Counter(
        sum(one["arr_delay"] >= bound for bound in (0, 15, 60)) if "arr_delay" in one else -1 for one in flights
    )
    assert [one["result"] for one in shown["arrivals"]] == [late[index] for index in range(-1, 4)]
    assert shown["days"][0] == "2013-01-25T00:00:00.000-05:00"
    assert len(shown["days"]) == 7


def test_open_source(run: Run) -> None:
    """The questions of Keen's integration with GitHub, of what is delivered as GitHub delivers it."""
    shown = run(
        "open_source.ipynb",
        "{'contributors': contributors.value, 'per_issue': per_issue.to_dict(),"
        " 'commits': {one['repository.name']: one['result'] for one in commits.value}, 'outcomes': outcomes.value,"
        " 'chance': chance.to_dict(), 'branches': {one['pull_request.base.ref']: one['result'] for one in branches.value},"
        " 'changes': changes.set_index('pull_request.user.login')[['additions', 'deletions']].T.to_dict('list')}",
    )
    sent = open_source.deliveries()
    assert len({one.guid for one in sent}) == len(sent)
    payloads: defaultdict[tuple[str, str], list[Event]] = defaultdict(list)
    for one in sent:
        payloads[one.event, one.payload["action"]].append(one.payload)

    def weekly(rows: list[Event], name: str) -> list[dict[str, int]]:
        found = [{str(one[name]): one["result"] for one in row["value"] if one["result"]} for row in rows]
        assert len(found) == open_source.WEEKS
        return found

    def week(payload: Event, time: str) -> int:
        return (datetime.fromisoformat(payload["pull_request"][time]) - open_source.START).days // 7

    opened, closed = payloads["pull_request", "opened"], payloads["pull_request", "closed"]
    authors: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
    for payload in opened:
        pull = payload["pull_request"]
        authors[week(payload, "created_at"), pull["author_association"]].add(pull["user"]["login"])
    found = weekly(shown["contributors"], "pull_request.author_association")
    assert {(number, group): count for number, row in enumerate(found) for group, count in row.items()} == {
        key: len(people) for key, people in authors.items()
    }
    found = weekly(shown["outcomes"], "pull_request.merged")
    assert Counter(
        {(number, group): count for number, row in enumerate(found) for group, count in row.items()}
    ) == Counter((week(one, "closed_at"), str(one["pull_request"]["merged"])) for one in closed)

    def by_repository(event: str, action: str) -> Counter[str]:
        return Counter(one["repository"]["name"] for one in payloads[event, action])

    comments, issues = by_repository("issue_comment", "created"), by_repository("issues", "opened")
    assert shown["per_issue"] == pytest.approx({name: comments[name] / issues[name] for name in issues})
    commits: Counter[str] = Counter()
    for payload in opened:
        commits[payload["repository"]["name"]] += payload["pull_request"]["commits"]
    pulls = by_repository("pull_request", "opened")
    assert shown["commits"] == pytest.approx({name: commits[name] / pulls[name] for name in pulls})

    merged = [one["pull_request"] for one in closed if one["pull_request"]["merged"]]
    of_all = Counter(one["pull_request"]["author_association"] for one in closed)
    of_merged = Counter(one["author_association"] for one in merged)
    assert shown["chance"] == {group: f"{of_merged[group] / count:.0%}" for group, count in of_all.items()}
    assert shown["branches"] == Counter(one["base"]["ref"] for one in merged)
    assert shown["changes"] == {
        login: [
            sum(one[name] for one in merged if one["user"]["login"] == login) for name in ("additions", "deletions")
        ]
        for login in {one["user"]["login"] for one in merged}
    }
