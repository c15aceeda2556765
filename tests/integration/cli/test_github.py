"""`headwater github install` against a server that keeps webhooks as GitHub's API does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner, Result

from headwater.cli import app

URL = "https://events.example.com"
PROJECT, KEY = "a" * 24, "b" * 64
ADDRESS = f"{URL}/webhooks/github/{PROJECT}?api_key={KEY}"


class GitHub(ThreadingHTTPServer):
    """The webhooks of /orgs/acme and /repos/acme/shop; what it was asked is in `asked`."""

    hooks: dict[str, dict[int, dict[str, Any]]]
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    """As docs.github.com describes the routes of webhooks, with pages of two."""

    server: GitHub

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        page = int(parse_qs(address.query).get("page", ["1"])[0])
        hooks = self._hooks(address.path)
        if hooks is not None:
            # What GitHub shows of a secret.
            shown = [hook | {"config": {**hook["config"], "secret": "********"}} for hook in hooks.values()]
            more = len(shown) > 2 * page
            link = (
                f'<http://127.0.0.1:{self.server.server_port}{address.path}?page={page + 1}>; rel="next"'
                if more
                else ""
            )
            self._answer(200, shown[2 * page - 2 : 2 * page], link)

    def do_POST(self) -> None:
        hooks = self._hooks(self.path)
        if hooks is not None:
            body = self._body()
            if any(hook["config"]["url"] == body["config"]["url"] for hook in hooks.values()):
                self._answer(422, {"message": "Validation Failed", "errors": [{"message": "Hook already exists"}]})
                return
            number = len(hooks) + 1
            hooks[number] = body | {"id": number}
            self._answer(201, hooks[number])

    def do_PATCH(self) -> None:
        path, _, rest = self.path.partition("/hooks/")
        hooks = self._hooks(path + "/hooks")
        if hooks is not None:
            number, _, config = rest.partition("/")
            changed = {"config": hooks[int(number)]["config"] | self._body()} if config else self._body()
            hooks[int(number)] |= changed
            self._answer(200, hooks[int(number)])

    def _hooks(self, path: str) -> dict[int, dict[str, Any]] | None:
        self.server.asked.append(self.command)
        if self.headers["Authorization"] != "Bearer good":
            self._answer(401, {"message": "Bad credentials"})
        elif path not in self.server.hooks:
            self._answer(404, {"message": "Not Found"})
        else:
            return self.server.hooks[path]
        return None

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return body

    def _answer(self, status: int, body: Any, link: str = "") -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if link:
            self.send_header("Link", link)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
        """Nothing."""


@pytest.fixture
def github() -> Iterator[GitHub]:
    server = GitHub(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.hooks = {"/orgs/acme/hooks": {}, "/repos/acme/shop/hooks": {}}
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def install(github: GitHub, tmp_path: Path) -> Any:
    def run(*arguments: str, token: str | None = "good", project: bool = True, port: int | None = None) -> Result:
        api = f"http://127.0.0.1:{port or github.server_port}"
        options = ["--api", api, "--data-dir", str(tmp_path)]
        environment = {"GITHUB_TOKEN": token, "GITHUB_WEBHOOK_SECRET": None}
        if project:
            environment |= {"HEADWATER_PROJECT_ID": PROJECT, "HEADWATER_WRITE_KEY": KEY}
        return CliRunner().invoke(app, ["github", "install", *arguments, *options], env=environment)

    return run


@pytest.mark.parametrize("target", ["acme", "acme/shop"])
def test_a_webhook_is_made_once_and_updated_from_then_on(github: GitHub, install: Any, target: str) -> None:
    hooks = github.hooks[f"/{'repos' if '/' in target else 'orgs'}/{target}/hooks"]
    for number in (1, 2, 3):  # of others, on two pages
        hooks[number] = {"id": number, "config": {"url": f"https://ci.example.com/{number}"}, "events": ["push"]}
    made = install(target, "--url", URL, "--secret", "s3cret")
    assert made.exit_code == 0, made.output
    assert f"Created webhook 4 of {target}: every event, signed, to {URL}" in made.output
    assert KEY not in made.output
    config = {"url": ADDRESS, "content_type": "json", "insecure_ssl": "0", "secret": "s3cret"}
    assert hooks[4] == {"id": 4, "name": "web", "active": True, "events": ["*"], "config": config}

    updated = install(target, "--url", f"{URL}/", "--event", "push", "--event", "issues")
    assert updated.exit_code == 0, updated.output
    assert "Updated webhook 4" in updated.output
    assert sorted(hooks) == [1, 2, 3, 4]
    assert hooks[4]["events"] == ["push", "issues"]
    assert hooks[4]["config"]["secret"] == "s3cret"  # not given, and not lost


def test_another_key_is_put_into_the_webhook_that_is_there(github: GitHub, install: Any) -> None:
    install("acme", "--url", ADDRESS.replace("b", "c"), project=False)
    assert install("acme", "--url", URL).exit_code == 0
    assert [hook["config"]["url"] for hook in github.hooks["/orgs/acme/hooks"].values()] == [ADDRESS]


def test_a_dry_run_changes_nothing(github: GitHub, install: Any) -> None:
    without = install("acme", "--url", URL, "--dry-run", token=None)
    assert (without.exit_code, github.asked) == (0, [])
    assert without.output.startswith(
        "Would create a webhook in acme, or update the one that is there: every event, not signed"
    )
    assert (
        "Would create a webhook in acme: push" in install("acme", "--url", URL, "--dry-run", "--event", "push").output
    )
    install("acme", "--url", URL)
    assert "Would update webhook 1 in acme" in install("acme", "--url", URL, "--dry-run").output
    assert {*github.asked} == {"GET", "POST"}
    assert github.asked.count("POST") == 1


def test_two_webhooks_to_one_address_are_said(github: GitHub, install: Any) -> None:
    hooks = github.hooks["/orgs/acme/hooks"]
    for number in (1, 2):
        hooks[number] = {"id": number, "config": {"url": f"{ADDRESS}{number}"}, "events": ["*"]}
    assert "which may be deleted: 2." in install("acme", "--url", URL).output
    assert (hooks[1]["config"]["url"], hooks[2]["config"]["url"]) == (ADDRESS, f"{ADDRESS}2")


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (
            ("acme", "--url", URL),
            {"token": "bad"},
            "401 for the webhooks of acme: Bad credentials (the token needs admin:org",
        ),
        (("somebody", "--url", URL), {}, "404 for the webhooks of somebody: Not Found"),
        (("acme", "--url", URL), {"token": None}, "set GITHUB_TOKEN"),
        (("acme", "--url", "events.example.com"), {}, "'events.example.com' is none"),
        (("acme", "--url", URL), {"project": False}, "HEADWATER_PROJECT_ID"),
        (("acme", "--url", URL), {"port": 1}, "does not answer"),
    ],
)
def test_what_cannot_be_is_said(github: GitHub, install: Any, arguments: Any, given: Any, said: str) -> None:
    refused = install(*arguments, **given)
    assert refused.exit_code == 1, refused.output
    assert said in refused.output
    assert github.hooks == {"/orgs/acme/hooks": {}, "/repos/acme/shop/hooks": {}}


def test_what_is_no_target(install: Any) -> None:
    for target in ("acme/shop/x", "", "../user", "acme/..", "acme/"):
        assert install(target, "--url", URL).exit_code == 2
