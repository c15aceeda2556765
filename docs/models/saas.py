"""A B2B service: accounts that sign up, invite colleagues, use features, pay, and leave."""

from collections.abc import Sequence
from typing import Any

from docs.models.model import Collection, Delivery, Model, Property, bulk
from docs.queries.example import Question

TWO_MONTHS = {"start": "2026-02-01", "end": "2026-04-01"}
MARCH = {"start": "2026-03-01", "end": "2026-04-01"}
PLANS = {"starter": 1900, "team": 4900}
FEATURES = {"report": "Reports", "export": "Export", "api": "API"}
ACCOUNTS = {  # name, where it came from
    "acc_1": ("Acme", "ads"),
    "acc_2": ("Bolt", "search"),
    "acc_3": ("Crux", "friend"),
    "acc_4": ("Dune", "ads"),
    "acc_5": ("Echo", "search"),
}

# When, what, which account, who of it, and what else is to be known.
HISTORY: tuple[tuple[str, str, str, int, Any], ...] = (
    ("2026-02-02T09:00:00Z", "account_created", "acc_1", 1, 40),
    ("2026-02-02T09:20:00Z", "user_invited", "acc_1", 1, "member"),
    ("2026-02-03T08:00:00Z", "feature_used", "acc_1", 2, ("report", 310)),
    ("2026-02-04T10:00:00Z", "subscription_started", "acc_1", 1, "team"),
    ("2026-02-04T10:00:05Z", "invoice_paid", "acc_1", 1, "in_1"),
    ("2026-02-05T14:00:00Z", "account_created", "acc_2", 1, 6),
    ("2026-02-05T14:30:00Z", "feature_used", "acc_2", 1, ("export", 45)),
    ("2026-02-10T11:00:00Z", "feature_used", "acc_1", 1, ("report", 250)),
    ("2026-02-11T16:00:00Z", "subscription_started", "acc_2", 1, "starter"),
    ("2026-02-11T16:00:05Z", "invoice_paid", "acc_2", 1, "in_2"),
    ("2026-02-17T09:00:00Z", "feature_used", "acc_2", 1, ("report", 120)),
    ("2026-02-18T13:00:00Z", "account_created", "acc_3", 1, 15),
    ("2026-02-18T13:10:00Z", "user_invited", "acc_3", 1, "admin"),
    ("2026-02-18T15:00:00Z", "feature_used", "acc_3", 1, ("api", 5)),
    ("2026-02-19T09:00:00Z", "feature_used", "acc_3", 2, ("report", 400)),
    ("2026-02-24T10:00:00Z", "feature_used", "acc_1", 2, ("export", 60)),
    ("2026-02-25T10:00:00Z", "subscription_started", "acc_3", 1, "team"),
    ("2026-02-25T10:00:05Z", "invoice_paid", "acc_3", 1, "in_3"),
    ("2026-03-02T09:00:00Z", "account_created", "acc_4", 1, 3),
    ("2026-03-03T09:00:00Z", "feature_used", "acc_3", 1, ("api", 8)),
    ("2026-03-04T10:00:05Z", "invoice_paid", "acc_1", 1, "in_4"),
    ("2026-03-05T10:00:00Z", "feature_used", "acc_1", 1, ("report", 180)),
    ("2026-03-09T08:30:00Z", "feature_used", "acc_4", 1, ("export", 30)),
    ("2026-03-10T08:00:00Z", "account_created", "acc_5", 1, 80),
    ("2026-03-10T09:00:00Z", "user_invited", "acc_5", 1, "member"),
    ("2026-03-11T16:00:00Z", "subscription_cancelled", "acc_2", 1, "too expensive"),
    ("2026-03-12T09:00:00Z", "feature_used", "acc_3", 2, ("report", 290)),
    ("2026-03-24T09:00:00Z", "feature_used", "acc_3", 1, ("api", 4)),
    ("2026-03-25T10:00:05Z", "invoice_paid", "acc_3", 1, "in_5"),
)

ACCOUNT = "account.id"
REPORT = {"property_name": "feature.id", "operator": "eq", "property_value": "report"}


def deliveries() -> Sequence[Delivery]:
    """All events in one request; an account's plan is the one that it had at that moment."""
    plans = dict.fromkeys(ACCOUNTS, "trial")
    events = []
    for time, collection, account, user, detail in HISTORY:
        if collection == "subscription_started":
            plans[account] = detail
        name, source = ACCOUNTS[account]
        who = {
            "account": {"id": account, "name": name, "source": source, "plan": plans[account]},
            "user": {"id": f"{account}_u{user}", "role": "admin" if user == 1 else "member"},
        }
        events.append((time, collection, who | _own(collection, plans[account], detail)))
    return bulk(events)


def _own(collection: str, plan: str, detail: Any) -> dict[str, Any]:
    price = {"amount": PLANS.get(plan), "currency": "usd"}
    if collection == "account_created":
        return {"employees": detail}
    if collection == "user_invited":
        return {"invited": {"role": detail}}
    if collection == "feature_used":
        feature, seconds = detail
        return {"feature": {"id": feature, "name": FEATURES[feature]}, "seconds": seconds}
    if collection == "subscription_started":
        return price
    if collection == "invoice_paid":
        return {"invoice": {"id": detail}} | price
    return {"reason": detail} | price


MODEL = Model(
    "saas",
    "B2B SaaS",
    "Companies try a service, bring colleagues, pay by the month, and stay or leave.",
    (
        "The actor is the account, since accounts pay and leave; the user stands beside it for questions about people. Both are in every event, "
        "so that one question needs one collection.",
        "`account.plan` is the plan *at that moment*: an event is a fact, and an upgrade in May must not change what was done in March.",
        'One collection for the use of all features, with the feature as property. A collection for each would make "which feature" as many questions.',
        "Neither names of people nor addresses: `user.id` is enough to count them. What a person is called is in your own database.",
    ),
    (
        Property(ACCOUNT, "string", "the company"),
        Property("account.name", "string", "what to show for it"),
        Property("account.plan", "string", "its plan at that moment: trial, starter, team"),
        Property("account.source", "string", "where it came from"),
        Property("user.id", "string", "who of it acted; no name"),
        Property("user.role", "string", "admin or member"),
    ),
    (
        Collection(
            "account_created", "A company signed up.", (Property("employees", "num", "how many it says it has"),)
        ),
        Collection(
            "user_invited",
            "Somebody invited a colleague.",
            (Property("invited.role", "string", "what the colleague may be"),),
        ),
        Collection(
            "feature_used",
            "Somebody did something of value.",
            (
                Property("feature.id", "string", "which feature"),
                Property("feature.name", "string", "what to show for it"),
                Property("seconds", "num", "how long it was used"),
            ),
        ),
        Collection(
            "subscription_started",
            "A company began to pay.",
            (
                Property("amount", "num", "a month's price, in cents"),
                Property("currency", "string", "ISO 4217, in lower case as Stripe has it"),
            ),
        ),
        Collection(
            "invoice_paid",
            "A month was paid.",
            (
                Property("invoice.id", "string", "which invoice"),
                Property("amount", "num", "in cents"),
                Property("currency", "string", "of the amount"),
            ),
        ),
        Collection(
            "subscription_cancelled",
            "A company stopped paying.",
            (
                Property("reason", "string", "what was chosen as reason"),
                Property("amount", "num", "the month's price that is lost, in cents"),
                Property("currency", "string", "of the amount"),
            ),
        ),
    ),
    deliveries,
    (
        Question(
            "saas-active",
            "How many accounts are active in each week?",
            "count_unique",
            {"event_collection": "feature_used", "target_property": ACCOUNT, "timeframe": MARCH, "interval": "weekly"},
        ),
        Question(
            "saas-activation",
            "Activation: how many accounts invited somebody after they signed up, and then made a report, all within 14 days?",
            "funnel",
            {
                "steps": [
                    {"event_collection": "account_created", "actor_property": ACCOUNT},
                    {"event_collection": "user_invited", "actor_property": ACCOUNT},
                    {"event_collection": "feature_used", "actor_property": ACCOUNT, "filters": [REPORT]},
                ],
                "timeframe": TWO_MONTHS,
                "ordered": True,
                "window": "14 days",
            },
        ),
        Question(
            "saas-adoption",
            "Which features do the accounts of each plan use?",
            "multi_analysis",
            {
                "event_collection": "feature_used",
                "analyses": {
                    "accounts": {"analysis_type": "count_unique", "target_property": ACCOUNT},
                    "uses": {"analysis_type": "count"},
                    "typical_seconds": {"analysis_type": "median", "target_property": "seconds"},
                },
                "timeframe": TWO_MONTHS,
                "group_by": ["account.plan", "feature.name"],
            },
        ),
        Question(
            "saas-revenue",
            "Monthly revenue by plan, in cents?",
            "sum",
            {
                "event_collection": "invoice_paid",
                "target_property": "amount",
                "timeframe": TWO_MONTHS,
                "interval": "monthly",
                "group_by": ["account.plan", "currency"],
            },
        ),
        Question(
            "saas-churn",
            "What is lost with accounts that leave, and why do they?",
            "multi_analysis",
            {
                "event_collection": "subscription_cancelled",
                "analyses": {
                    "accounts": {"analysis_type": "count_unique", "target_property": ACCOUNT},
                    "lost": {"analysis_type": "sum", "target_property": "amount"},
                },
                "timeframe": MARCH,
                "group_by": ["reason", "currency"],
            },
        ),
        Question(
            "saas-silent",
            "Which accounts paid in March and used nothing in its last two weeks?",
            "funnel",
            {
                "steps": [
                    {"event_collection": "invoice_paid", "actor_property": ACCOUNT, "timeframe": MARCH},
                    {
                        "event_collection": "feature_used",
                        "actor_property": ACCOUNT,
                        "timeframe": {"start": "2026-03-18", "end": "2026-04-01"},
                        "inverted": True,
                        "with_actors": True,
                    },
                ],
            },
        ),
        Question(
            "saas-retention",
            "Of the accounts that signed up in a month, how many used something in that month and in the next one?",
            "retention",
            {
                "first_event": {"event_collection": "account_created", "actor_property": ACCOUNT},
                "returning_event": {"event_collection": "feature_used", "actor_property": ACCOUNT},
                "unit": "month",
                "units": 1,
                "timeframe": TWO_MONTHS,
            },
        ),
    ),
)
