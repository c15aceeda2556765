"""`headwater github`: GitHub's webhooks made by its API."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import httpx
import typer

from headwater.cli.local import DataDir, explained, local_settings
from headwater.client.errors import ConnectError
from headwater.client.target import find_target

API = "https://api.github.com"
ROUTE = "/webhooks/github/"
EVERYTHING = "*"
TIMEOUT = 30.0

_TARGET = re.compile(r"[A-Za-z0-9][\w-]*(/(?!\.\.?$)[\w.-]+)?", re.ASCII)

github = typer.Typer(help="GitHub's webhooks.", no_args_is_help=True)


class GitHubError(Exception):
    """GitHub refuses, or does not answer; the message says why and what to do."""


@dataclass(frozen=True)
class Wanted:
    """The webhook that there is to be."""

    url: str  # with the key
    events: tuple[str, ...]
    secret: str | None = None

    @property
    def config(self) -> dict[str, str]:
        """Its configuration, as GitHub's API has it. Without a secret, one that a webhook has stays."""
        config = {"url": self.url, "content_type": "json", "insecure_ssl": "0"}
        return config if self.secret is None else config | {"secret": self.secret}

    @property
    def shown(self) -> str:
        """The webhook in words, its key masked."""
        events = "every event" if self.events == (EVERYTHING,) else ", ".join(self.events)
        return f"{events}, {'signed' if self.secret else 'not signed'}, to {masked(self.url)}"


@github.callback()
def _group() -> None:
    """So that `install` is a command of its own name, as the only one."""


@github.command("install")
def install(
    target: Annotated[str, typer.Argument(metavar="OWNER[/REPO]", help="An organization, or one repository.")],
    url: Annotated[
        str,
        typer.Option(
            help="Headwater's address as GitHub reaches it; project and write key are added, where it is not a whole webhook's."
        ),
    ],
    event: Annotated[
        list[str] | None, typer.Option(help="An event to send; given several times, several (default: all events).")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="GITHUB_TOKEN", help="A token with admin:org_hook, or admin:repo_hook for a repository."),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            envvar="GITHUB_WEBHOOK_SECRET",
            help="What GitHub signs with: the same as the project's setting github.secret.",
        ),
    ] = None,
    api: Annotated[str, typer.Option(help="GitHub's API; of GitHub Enterprise Server https://HOST/api/v3.")] = API,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be done, and do nothing. Without a token GitHub is not asked."),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Let GitHub send the events of an organization or a repository here.

    One webhook sends all of them, each to the collection of its name. Run again, it changes the webhook that it made before: events,
    key, secret.
    """
    if not _TARGET.fullmatch(target):
        raise typer.BadParameter(f"{target!r} is neither OWNER nor OWNER/REPO.")
    with explained(ConnectError, GitHubError):
        goal = find_target(local_settings(data_dir))
        wanted = Wanted(webhook_url(url, goal.project_id, goal.write_key), tuple(event or (EVERYTHING,)), secret)
        if token is None:
            if not dry_run:
                raise GitHubError("A token is needed: set GITHUB_TOKEN, or give --token.")
            typer.echo(f"Would create a webhook in {target}, or update the one that is there: {wanted.shown}.")
            return
        with _client(api, token) as client:
            hooks = _Hooks(client, target)
            found = ours(list(hooks.all()), wanted.url)
            if len(found) > 1:
                numbers = ", ".join(str(hook["id"]) for hook in found[1:])
                typer.echo(
                    f"{target} has more webhooks to the same address, which may be deleted: {numbers}.", err=True
                )
            what = f"update webhook {found[0]['id']}" if found else "create a webhook"
            if dry_run:
                typer.echo(f"Would {what} in {target}: {wanted.shown}.")
                return
            if found:
                hooks.update(found[0]["id"], wanted)
                typer.echo(f"Updated webhook {found[0]['id']} of {target}: {wanted.shown}.")
            else:
                typer.echo(f"Created webhook {hooks.create(wanted)} of {target}: {wanted.shown}.")


def webhook_url(url: str, project_id: str | None, write_key: str | None) -> str:
    """The webhook's address: itself where it is a whole one, else the route under the address, of this project with this key.

    Raises GitHubError for what is no http address, and where project or key are needed and None.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise GitHubError(f"--url must be an address such as https://events.example.com; {url!r} is none.")
    if ROUTE in parts.path:
        return url
    if project_id is None or write_key is None:
        raise GitHubError(
            "Which project? Set HEADWATER_PROJECT_ID and HEADWATER_WRITE_KEY, start a local stack with `headwater up`, or "
            f"give the webhook's whole address: --url 'https://HOST{ROUTE}PROJECT_ID?api_key=WRITE_KEY'."
        )
    return f"{url.rstrip('/')}{ROUTE}{project_id}?{urlencode({'api_key': write_key})}"


def ours(hooks: Sequence[dict[str, Any]], url: str) -> list[dict[str, Any]]:
    """Those webhooks that go to the same place, whatever their key is, oldest first."""
    place = urlsplit(url)[:3]
    found = [hook for hook in hooks if urlsplit(str(hook.get("config", {}).get("url")))[:3] == place]
    return sorted(found, key=lambda hook: int(hook["id"]))


def masked(url: str) -> str:
    """An address for people to see: of its query only the beginning of each value."""
    return re.sub(r"=([^&]{0,4})[^&]*", r"=\1...", url)


class _Hooks:
    """The webhooks of an organization or a repository. Every method blocks, and raises GitHubError."""

    def __init__(self, client: httpx.Client, target: str) -> None:
        self._client = client
        self._target = target
        self._path = f"/{'repos' if '/' in target else 'orgs'}/{target}/hooks"

    def all(self) -> Iterator[dict[str, Any]]:
        """All webhooks, page by page."""
        address: str | None = f"{self._path}?per_page=100"
        while address is not None:
            answer = self._ask("GET", address)
            yield from answer.json()
            address = answer.links.get("next", {}).get("url")

    def create(self, wanted: Wanted) -> int:
        """Make the webhook; its id."""
        body = {"name": "web", "active": True, "events": wanted.events, "config": wanted.config}
        return int(self._ask("POST", self._path, body).json()["id"])

    def update(self, hook: int, wanted: Wanted) -> None:
        """Make a webhook what is wanted. The configuration goes to its own route, which keeps the secret that is not given."""
        self._ask("PATCH", f"{self._path}/{hook}/config", wanted.config)
        self._ask("PATCH", f"{self._path}/{hook}", {"active": True, "events": wanted.events})

    def _ask(self, method: str, address: str, body: Any = None) -> httpx.Response:
        try:
            answer = self._client.request(method, address, json=body)
        except httpx.HTTPError as error:
            raise GitHubError(f"GitHub's API at {self._client.base_url} does not answer: {error}.") from None
        if not answer.is_success:
            raise GitHubError(self._explained(answer))
        return answer

    def _explained(self, answer: httpx.Response) -> str:
        said = f"GitHub answers {answer.status_code} for the webhooks of {self._target}"
        try:
            body = answer.json()
        except ValueError:
            return f"{said}. Is --api {self._client.base_url} GitHub's API?"
        said += f": {body.get('message')}" if isinstance(body, dict) else ""
        said += "".join(f" {one.get('message', one)}" for one in body.get("errors", ()) if isinstance(one, dict))
        if answer.status_code in (401, 403, 404):
            said += (
                f" (the token needs {'admin:repo_hook' if '/' in self._target else 'admin:org_hook'}; "
                "a user who is no organization has webhooks for each repository only: OWNER/REPO)"
            )
        return said + "."


def _client(api: str, token: str) -> httpx.Client:
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
        "User-Agent": "headwater",
    }
    return httpx.Client(base_url=api.rstrip("/"), headers=headers, timeout=TIMEOUT, follow_redirects=True)
