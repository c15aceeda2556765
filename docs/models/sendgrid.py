"""E-mail, as SendGrid's Event Webhook brings it: delivered, opened, clicked, bounced."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from docs.models.model import Collection, Delivery, Model, Property
from docs.queries.example import Question

MARCH = {"start": "2026-03-01", "end": "2026-04-01"}
DESKTOP = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
    "Mobile/15E148 Safari/604.1"
)
READERS = {  # address, user agent, the address that the reader opens from
    "r1": ("ann@example.com", DESKTOP, "8.8.8.8"),
    "r2": ("bob@example.com", PHONE, "193.0.6.139"),
    "r3": ("cid@example.org", PHONE, "8.8.8.8"),
    "r4": ("dan@example.org", DESKTOP, "193.0.6.139"),
    "r5": ("eve@example.net", DESKTOP, "8.8.8.8"),
}
OFFER, STORY = "https://shop.example.com/offer?size=2", "https://shop.example.com/story"
# When, event, campaign, whom to, what else is to be known.
HISTORY: tuple[tuple[str, str, str, str, Any], ...] = (
    ("2026-03-03T08:00:10Z", "delivered", "spring", "r1", None),
    ("2026-03-03T08:00:11Z", "delivered", "spring", "r2", None),
    ("2026-03-03T08:00:12Z", "delivered", "spring", "r3", None),
    ("2026-03-03T08:00:13Z", "bounce", "spring", "r4", ("bounce", "5.1.1", "550 5.1.1 no such user")),
    ("2026-03-03T08:00:14Z", "bounce", "spring", "r5", ("blocked", "4.7.1", "421 4.7.1 try again later")),
    ("2026-03-03T08:00:15Z", "open", "spring", "r3", True),
    ("2026-03-03T09:12:00Z", "open", "spring", "r1", False),
    ("2026-03-03T09:13:00Z", "click", "spring", "r1", OFFER),
    ("2026-03-03T18:40:00Z", "open", "spring", "r2", False),
    ("2026-03-04T18:45:00Z", "open", "spring", "r1", False),
    ("2026-03-10T08:00:10Z", "delivered", "news", "r1", None),
    ("2026-03-10T08:00:11Z", "delivered", "news", "r2", None),
    ("2026-03-10T08:00:12Z", "delivered", "news", "r3", None),
    ("2026-03-10T08:00:13Z", "delivered", "news", "r5", None),
    ("2026-03-10T08:00:14Z", "bounce", "news", "r4", ("bounce", "5.1.1", "550 5.1.1 no such user")),
    ("2026-03-10T09:30:00Z", "open", "news", "r1", False),
    ("2026-03-10T09:31:00Z", "click", "news", "r1", STORY),
    ("2026-03-10T09:32:00Z", "click", "news", "r1", OFFER),
    ("2026-03-10T18:05:00Z", "open", "news", "r5", False),
    ("2026-03-11T07:50:00Z", "click", "news", "r5", STORY),
)

EMAIL, MESSAGE, CAMPAIGN = "email", "sg_message_id", "category"
BY_PEOPLE = {"property_name": "sg_machine_open", "operator": "ne", "property_value": True}
NEWS = {"property_name": CAMPAIGN, "operator": "eq", "property_value": "news"}


def deliveries() -> Sequence[Delivery]:
    """All events as SendGrid posts them: an array."""
    events = [_event(number, *one) for number, one in enumerate(HISTORY, 1)]
    return [Delivery("/webhooks/sendgrid/{project_id}", events, [f"email_{one['event']}" for one in events])]


def _event(number: int, time: str, event: str, campaign: str, reader: str, detail: Any) -> dict[str, Any]:
    address, user_agent, ip = READERS[reader]
    given: dict[str, Any] = {
        "email": address,
        "event": event,
        "timestamp": int(datetime.fromisoformat(time).timestamp()),
        "sg_event_id": f"ev-{number}",
        "sg_message_id": f"{campaign}-{reader}.recvd-1",
        "category": campaign,
        "domain": address.partition("@")[2],
    }
    if event in ("open", "click"):
        given |= {"useragent": user_agent, "ip": ip}
    if event == "open":
        given["sg_machine_open"] = detail
    if event == "click":
        given["url"] = detail
    if event == "bounce":
        kind, status, reason = detail
        given |= {"type": kind, "status": status, "reason": reason}
    return given


_READER = (
    Property("useragent", "string", "what it was read with"),
    Property("parsed_user_agent.device.type", "string", "by add-on"),
    Property("ip_geo_info.country", "string", "by add-on: where it was read"),
)

MODEL = Model(
    "email",
    "E-mail",
    "What [SendGrid's webhook](webhooks.md#sendgrid) brings.",
    (
        "A collection for each event, `email_` and its name; add-ons have been applied on the way.",
        "The actor of one message is `sg_message_id`: delivered, opened and clicked are steps of a funnel. The actor across messages is `email`.",
        "What you want to group by, give SendGrid as category or custom argument when you send: it is in all events of the message. Here `category` is the "
        "campaign (one text: a list of categories would be a group of its own), and `domain` a custom argument.",
        "Mail programs open messages by themselves; `sg_machine_open` says so. Ask with it left out, or open rates are theirs.",
        "`email` is somebody's address. Give SendGrid an id of your own as custom argument, ask by that one, and delete addresses when they are no longer "
        'needed: `hw.delete_property("email_open", "email")`; or one person\'s events: `hw.delete_events("email_open", filters=[...])`.',
    ),
    (
        Property(EMAIL, "string", "whom to"),
        Property("event", "string", "what happened"),
        Property("sg_event_id", "string", "the event's id, which makes a retry the same event"),
        Property(MESSAGE, "string", "the message to this person"),
        Property(CAMPAIGN, "string", "the campaign; a list where several were given"),
        Property("domain", "string", "a custom argument of this sender"),
        Property("timestamp_info.hour", "num", "by add-on: the hour, UTC"),
    ),
    (
        Collection("email_delivered", "The other server took it."),
        Collection(
            "email_open",
            "It was opened, by whomever.",
            (*_READER, Property("sg_machine_open", "bool", "a program opened it, and perhaps nobody saw it")),
        ),
        Collection(
            "email_click",
            "A link in it was followed.",
            (*_READER, Property("url", "string", "the link"), Property("parsed_url.path", "string", "by add-on")),
        ),
        Collection(
            "email_bounce",
            "It was not taken.",
            (
                Property("type", "string", "bounce: no such address; blocked: not now"),
                Property("status", "string", "the code of RFC 3463"),
                Property("reason", "string", "what the other server said"),
            ),
        ),
    ),
    deliveries,
    (
        Question(
            "email-campaign",
            "Of the messages of a campaign that arrived, how many were opened by people, and how many of these clicked in?",
            "funnel",
            {
                "steps": [
                    {"event_collection": "email_delivered", "actor_property": MESSAGE},
                    {"event_collection": "email_open", "actor_property": MESSAGE, "filters": [BY_PEOPLE]},
                    {"event_collection": "email_click", "actor_property": MESSAGE},
                ],
                "timeframe": MARCH,
                "filters": [NEWS],
            },
        ),
        Question(
            "email-arrived",
            "How many messages of each campaign arrived? (Divide the next answers by this one.)",
            "count_unique",
            {
                "event_collection": "email_delivered",
                "target_property": MESSAGE,
                "timeframe": MARCH,
                "group_by": CAMPAIGN,
            },
        ),
        Question(
            "email-opened",
            "How many were opened by people, and how often?",
            "multi_analysis",
            {
                "event_collection": "email_open",
                "analyses": {
                    "messages": {"analysis_type": "count_unique", "target_property": MESSAGE},
                    "opens": {"analysis_type": "count"},
                },
                "timeframe": MARCH,
                "filters": [BY_PEOPLE],
                "group_by": CAMPAIGN,
            },
        ),
        Question(
            "email-clicks",
            "Which links are followed, by how many people, in which campaign?",
            "count_unique",
            {
                "event_collection": "email_click",
                "target_property": EMAIL,
                "timeframe": MARCH,
                "group_by": ["parsed_url.path", CAMPAIGN],
            },
        ),
        Question(
            "email-bounces",
            "What bounces, by domain and kind?",
            "count",
            {"event_collection": "email_bounce", "timeframe": MARCH, "group_by": ["domain", "type"]},
        ),
        Question(
            "email-gone",
            "The last two messages to addresses that do not exist: to whom, and what did the server say?",
            "extraction",
            {
                "event_collection": "email_bounce",
                "timeframe": MARCH,
                "filters": [{"property_name": "type", "operator": "eq", "property_value": "bounce"}],
                "latest": 2,
                "property_names": ["keen.timestamp", "email", "reason"],
            },
        ),
        Question(
            "email-sleepers",
            "Who got mail in March and opened none?",
            "funnel",
            {
                "steps": [
                    {"event_collection": "email_delivered", "actor_property": EMAIL},
                    {
                        "event_collection": "email_open",
                        "actor_property": EMAIL,
                        "filters": [BY_PEOPLE],
                        "inverted": True,
                        "with_actors": True,
                    },
                ],
                "timeframe": MARCH,
            },
        ),
        Question(
            "email-devices",
            "When, and on what, do people read?",
            "count",
            {
                "event_collection": "email_open",
                "timeframe": MARCH,
                "filters": [BY_PEOPLE],
                "group_by": ["timestamp_info.hour", "parsed_user_agent.device.type"],
            },
        ),
    ),
    complete=False,
)
