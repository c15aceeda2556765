"""GitHub, as its webhooks bring it: issues, comments, pull requests, stars."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from docs.models.model import Collection, Delivery, Model, Property
from docs.queries.example import Question

TWO_WEEKS = {"start": "2026-03-01", "end": "2026-03-15"}
GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)
# When, event, action, repository, who; the number of the issue or pull request, and what is special about it.
HISTORY: tuple[tuple[str, str, str, str, str, int, dict[str, Any]], ...] = (
    ("2026-03-02T08:00:00Z", "issues", "opened", "lamp", "ann", 1, {"author_association": "NONE"}),
    ("2026-03-02T15:00:00Z", "issue_comment", "created", "lamp", "ada", 1, {"author_association": "MEMBER"}),
    ("2026-03-02T16:00:00Z", "issue_comment", "created", "lamp", "ann", 1, {"author_association": "NONE"}),
    ("2026-03-03T10:00:00Z", "pull_request", "opened", "lamp", "ann", 2, {"author_association": "FIRST_TIME_CONTRIBUTOR", "additions": 12, "deletions": 3}),
    ("2026-03-03T12:00:00Z", "pull_request", "opened", "lamp", "ada", 3, {"author_association": "MEMBER", "additions": 240, "deletions": 80}),
    ("2026-03-03T17:00:00Z", "pull_request", "closed", "lamp", "ada", 3, {"author_association": "MEMBER", "additions": 240, "deletions": 80, "merged": True}),
    ("2026-03-04T09:00:00Z", "issues", "opened", "lamp.js", "bob", 4, {"author_association": "CONTRIBUTOR"}),
    ("2026-03-04T12:00:00Z", "star", "created", "lamp", "cid", 0, {}),
    ("2026-03-05T09:30:00Z", "pull_request", "closed", "lamp", "ann", 2, {"author_association": "FIRST_TIME_CONTRIBUTOR", "additions": 14, "deletions": 3, "merged": True}),
    ("2026-03-06T08:00:00Z", "pull_request", "opened", "lamp.js", "dan", 5, {"author_association": "FIRST_TIME_CONTRIBUTOR", "additions": 400, "deletions": 0}),
    ("2026-03-09T10:00:00Z", "pull_request", "closed", "lamp.js", "dan", 5, {"author_association": "FIRST_TIME_CONTRIBUTOR", "additions": 400, "deletions": 0, "merged": False}),
    ("2026-03-10T08:00:00Z", "pull_request", "opened", "lamp", "ann", 6, {"author_association": "CONTRIBUTOR", "additions": 30, "deletions": 22}),
    ("2026-03-10T11:00:00Z", "issue_comment", "created", "lamp.js", "grace", 4, {"author_association": "MEMBER"}),
    ("2026-03-11T09:00:00Z", "star", "created", "lamp", "eve", 0, {}),
    ("2026-03-11T09:30:00Z", "issues", "opened", "lamp", "eve", 7, {"author_association": "NONE"}),
    ("2026-03-12T14:00:00Z", "pull_request", "closed", "lamp", "ann", 6, {"author_association": "CONTRIBUTOR", "additions": 30, "deletions": 22, "merged": True}),
)  # fmt: skip
AUTHORS = {1: "ann", 2: "ann", 3: "ada", 4: "bob", 5: "dan", 6: "ann", 7: "eve"}

ASSOCIATION = "pull_request.author_association"
OPENED = {"property_name": "action", "operator": "eq", "property_value": "opened"}
CLOSED = {"property_name": "action", "operator": "eq", "property_value": "closed"}
MERGED = {"property_name": "pull_request.merged", "operator": "eq", "property_value": True}


def deliveries() -> Sequence[Delivery]:
    """A request for each event with GitHub's headers; one of them again, as "Redeliver" sends it."""
    sent = [_delivery(number, *one) for number, one in enumerate(HISTORY)]
    return [*sent, replace(sent[0], brings=())]


def _delivery(
    number: int, time: str, event: str, action: str, repository: str, sender: str, subject: int, special: dict[str, Any]
) -> Delivery:
    payload: dict[str, Any] = {
        "action": action,
        "repository": {"name": repository, "full_name": f"lumen/{repository}"},
        "organization": {"login": "lumen"},
        "sender": {"login": sender},
    }
    thing = {"id": 1000 + subject, "number": subject, "user": {"login": AUTHORS.get(subject)}}
    if event == "issues":
        payload["issue"] = thing | special
    elif event == "issue_comment":
        payload |= {"issue": thing, "comment": {"user": {"login": sender}, **special}}
    elif event == "pull_request":
        payload["pull_request"] = thing | {"base": {"ref": "main"}, "merged": False} | special
    headers = {"X-GitHub-Event": event, "X-GitHub-Delivery": _guid(datetime.fromisoformat(time), number)}
    return Delivery("/webhooks/github/{project_id}", payload, [event], headers)


def _guid(at: datetime, number: int) -> str:
    """A delivery's id as GitHub makes them: a UUIDv1, which holds the time."""
    ticks = (at - GREGORIAN) // timedelta(microseconds=1) * 10
    low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF | 0x1000
    return str(uuid.UUID(fields=(low, middle, high, 0x80, number, 0x68656164)))


_ISSUE = (
    Property("issue.id", "num", "which issue"),
    Property("issue.number", "num", "its number in the repository"),
    Property("issue.user.login", "string", "who opened it"),
)

MODEL = Model(
    "github",
    "GitHub",
    "What [GitHub's webhooks](webhooks.md#github) bring; [examples/open_source.ipynb](../examples/open_source.ipynb) asks more of it.",
    (
        "A collection for each event's name, and the payload as it is: GitHub copies repository, sender and the whole issue or pull request into each event.",
        "One collection holds several actions. Filter on `action`, or a pull request that was opened, labelled and closed counts three times.",
        "`author_association` is what the author was to the repository *at that moment*: who is a first-time contributor today is a contributor in the "
        'next event. That is what makes "first-time against repeat" a question of one collection.',
        "Names of accounts are public, and still people's. Who wants to be out of it: "
        '`hw.delete_events("issues", filters=[{"property_name": "sender.login", "operator": "eq", "property_value": "ann"}])`, and so for each collection.',
    ),
    (
        Property("action", "string", "what was done: opened, closed, created, ..."),
        Property("repository.name", "string", "where"),
        Property("organization.login", "string", "whose; not in webhooks of a person's repositories"),
        Property("sender.login", "string", "who did it"),
    ),
    (
        Collection(
            "issues",
            "An issue was opened, closed, labelled, ...",
            (*_ISSUE, Property("issue.author_association", "string", "of who opened it")),
        ),
        Collection(
            "issue_comment",
            "Somebody said something about an issue or a pull request.",
            (
                *_ISSUE,
                Property("comment.user.login", "string", "who said it"),
                Property(
                    "comment.author_association", "string", "MEMBER, CONTRIBUTOR, FIRST_TIME_CONTRIBUTOR, NONE, ..."
                ),
            ),
        ),
        Collection(
            "pull_request",
            "A pull request was opened, closed, labelled, ...",
            (
                Property("pull_request.id", "num", "which pull request"),
                Property("pull_request.user.login", "string", "whose it is"),
                Property(ASSOCIATION, "string", "what the author is to the repository"),
                Property("pull_request.merged", "bool", "true only when closed with a merge"),
                Property("pull_request.base.ref", "string", "into which branch"),
                Property("pull_request.additions", "num", "lines"),
                Property("pull_request.deletions", "num", "lines"),
            ),
        ),
        Collection("star", "A repository was starred (created), or no longer (deleted)."),
    ),
    deliveries,
    (
        Question(
            "github-merged",
            "Whose pull requests are merged, and whose closed without?",
            "count",
            {
                "event_collection": "pull_request",
                "timeframe": TWO_WEEKS,
                "filters": [CLOSED],
                "group_by": [ASSOCIATION, "pull_request.merged"],
            },
        ),
        Question(
            "github-contributors",
            "First-time against repeat contributors, by week?",
            "count_unique",
            {
                "event_collection": "pull_request",
                "target_property": "pull_request.user.login",
                "timeframe": TWO_WEEKS,
                "interval": "weekly",
                "filters": [
                    OPENED,
                    {
                        "property_name": ASSOCIATION,
                        "operator": "in",
                        "property_value": ["FIRST_TIME_CONTRIBUTOR", "CONTRIBUTOR"],
                    },
                ],
                "group_by": ASSOCIATION,
            },
        ),
        Question(
            "github-comments",
            "How much is said about issues, by repository? Comments divided by issues are comments per issue.",
            "multi_analysis",
            {
                "event_collection": "issue_comment",
                "analyses": {
                    "comments": {"analysis_type": "count"},
                    "issues": {"analysis_type": "count_unique", "target_property": "issue.id"},
                    "people": {"analysis_type": "count_unique", "target_property": "comment.user.login"},
                },
                "timeframe": TWO_WEEKS,
                "group_by": "repository.name",
            },
        ),
        Question(
            "github-answered",
            "How many new issues had an answer of a member within two days?",
            "funnel",
            {
                "steps": [
                    {"event_collection": "issues", "actor_property": "issue.id", "filters": [OPENED]},
                    {
                        "event_collection": "issue_comment",
                        "actor_property": "issue.id",
                        "filters": [
                            {
                                "property_name": "comment.author_association",
                                "operator": "eq",
                                "property_value": "MEMBER",
                            }
                        ],
                    },
                ],
                "timeframe": TWO_WEEKS,
                "ordered": True,
                "window": "2 days",
            },
        ),
        Question(
            "github-changes",
            "How many lines did each contributor change in what was merged, most added first?",
            "multi_analysis",
            {
                "event_collection": "pull_request",
                "analyses": {
                    "added": {"analysis_type": "sum", "target_property": "pull_request.additions"},
                    "deleted": {"analysis_type": "sum", "target_property": "pull_request.deletions"},
                },
                "timeframe": TWO_WEEKS,
                "filters": [CLOSED, MERGED],
                "group_by": "pull_request.user.login",
                "order_by": {"property_name": "added", "direction": "DESC"},
            },
        ),
        Question(
            "github-stars",
            "Who starred it and then took part?",
            "funnel",
            {
                "steps": [
                    {"event_collection": "star", "actor_property": "sender.login"},
                    {"event_collection": "issues", "actor_property": "sender.login", "with_actors": True},
                ],
                "timeframe": TWO_WEEKS,
            },
        ),
    ),
    complete=False,
)
