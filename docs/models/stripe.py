"""Stripe, as its webhooks bring it: charges, invoices, subscriptions."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from docs.models.model import Collection, Delivery, Model, Property
from docs.queries.example import Question

TWO_MONTHS = {"start": "2026-02-01", "end": "2026-04-01"}
MARCH = {"start": "2026-03-01", "end": "2026-04-01"}
# When, type, the object's members.
HISTORY: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("2026-02-02T10:00:00Z", "customer.subscription.created", {"id": "sub_1", "customer": "cus_1", "status": "active"}),
    ("2026-02-02T10:00:02Z", "charge.succeeded", {"id": "ch_1", "customer": "cus_1", "amount": 4900, "currency": "usd"}),
    ("2026-02-02T10:00:03Z", "invoice.paid", {"id": "in_1", "customer": "cus_1", "amount_paid": 4900, "currency": "usd", "billing_reason": "subscription_create"}),
    ("2026-02-10T09:00:00Z", "customer.subscription.created", {"id": "sub_2", "customer": "cus_2", "status": "active"}),
    ("2026-02-10T09:00:02Z", "charge.succeeded", {"id": "ch_2", "customer": "cus_2", "amount": 1900, "currency": "eur"}),
    ("2026-02-10T09:00:03Z", "invoice.paid", {"id": "in_2", "customer": "cus_2", "amount_paid": 1900, "currency": "eur", "billing_reason": "subscription_create"}),
    ("2026-03-02T10:00:00Z", "charge.failed", {"id": "ch_3", "customer": "cus_1", "amount": 4900, "currency": "usd", "failure_code": "card_declined"}),
    ("2026-03-03T08:00:00Z", "customer.subscription.created", {"id": "sub_3", "customer": "cus_3", "status": "trialing"}),
    ("2026-03-05T10:00:00Z", "charge.succeeded", {"id": "ch_4", "customer": "cus_1", "amount": 4900, "currency": "usd"}),
    ("2026-03-05T10:00:01Z", "invoice.paid", {"id": "in_3", "customer": "cus_1", "amount_paid": 4900, "currency": "usd", "billing_reason": "subscription_cycle"}),
    ("2026-03-10T09:00:00Z", "charge.failed", {"id": "ch_5", "customer": "cus_2", "amount": 1900, "currency": "eur", "failure_code": "expired_card"}),
    ("2026-03-13T09:00:00Z", "charge.failed", {"id": "ch_6", "customer": "cus_2", "amount": 1900, "currency": "eur", "failure_code": "expired_card"}),
    ("2026-03-17T09:00:00Z", "customer.subscription.deleted", {"id": "sub_2", "customer": "cus_2", "status": "canceled", "cancellation_details": {"reason": "payment_failed"}}),
    ("2026-03-17T12:00:00Z", "customer.subscription.deleted", {"id": "sub_3", "customer": "cus_3", "status": "canceled", "cancellation_details": {"reason": "cancellation_requested"}}),
    ("2026-03-20T15:00:00Z", "customer.subscription.created", {"id": "sub_4", "customer": "cus_4", "status": "active"}),
    ("2026-03-20T15:00:02Z", "charge.succeeded", {"id": "ch_7", "customer": "cus_4", "amount": 14900, "currency": "usd"}),
    ("2026-03-20T15:00:03Z", "invoice.paid", {"id": "in_4", "customer": "cus_4", "amount_paid": 14900, "currency": "usd", "billing_reason": "subscription_create"}),
)  # fmt: skip
OBJECTS = {"charge": "charge", "invoice": "invoice", "customer": "subscription"}

CUSTOMER = "data.object.customer"


def deliveries() -> Sequence[Delivery]:
    """A request for each event, as Stripe sends them; one of them twice, as Stripe may."""
    sent = [
        Delivery(
            "/webhooks/stripe/{project_id}",
            {
                "id": f"evt_{number}",
                "object": "event",
                "api_version": "2025-03-31.basil",
                "created": int(datetime.fromisoformat(time).timestamp()),
                "type": kind,
                "livemode": True,
                "data": {"object": {"object": OBJECTS[kind.partition(".")[0]], **members}},
            },
            ["stripe_" + kind.replace(".", "_")],
        )
        for number, (time, kind, members) in enumerate(HISTORY, 1)
    ]
    return [*sent, replace(sent[-1], brings=())]


_MONEY = (
    Property("data.object.amount", "num", "in the smallest unit of the currency: 4900 is 49.00 dollars, but 4900 yen"),
    Property("data.object.currency", "string", "ISO 4217, in lower case"),
)

MODEL = Model(
    "stripe",
    "Stripe",
    "What [Stripe's webhooks](webhooks.md#stripe) bring, without a line of code.",
    (
        "A collection for each type, `stripe_` and the type with underscores; below is the part of each that is asked about most. Stripe's "
        "reference has the rest.",
        "Always group by currency, or filter on one: amounts of two currencies add up to nothing.",
        "The actor is the customer, `data.object.customer`, in all collections: so funnels run across them.",
        "A subscription's price is inside a list (`data.object.items.data`), which no group looks into; `stripe_invoice_paid` has the amount that was "
        "really paid.",
        "What Stripe knows of people (`billing_details`, `customer_email`) comes along with charges and invoices. Where nobody asks about it, take it out: "
        '`hw.delete_property("stripe_charge_succeeded", "data.object.billing_details")`.',
    ),
    (
        Property("id", "string", "the event's id, which makes a retry the same event"),
        Property("type", "string", "what happened, with dots"),
        Property("livemode", "bool", "false in Stripe's test mode"),
        Property("created", "num", "seconds since 1970; also the event's time"),
        Property("data.object.id", "string", "the charge, invoice or subscription"),
        Property(CUSTOMER, "string", "whose it is"),
    ),
    (
        Collection("stripe_charge_succeeded", "Money was taken.", _MONEY),
        Collection(
            "stripe_charge_failed",
            "Money was not to be had.",
            (*_MONEY, Property("data.object.failure_code", "string", "why: card_declined, expired_card, ...")),
        ),
        Collection(
            "stripe_invoice_paid",
            "An invoice was paid.",
            (
                Property("data.object.amount_paid", "num", "in the smallest unit"),
                Property("data.object.currency", "string", "of the amount"),
                Property(
                    "data.object.billing_reason",
                    "string",
                    "subscription_create for the first, subscription_cycle for later ones",
                ),
            ),
        ),
        Collection(
            "stripe_customer_subscription_created",
            "A subscription began.",
            (Property("data.object.status", "string", "trialing, active, incomplete, ..."),),
        ),
        Collection(
            "stripe_customer_subscription_deleted",
            "A subscription ended.",
            (
                Property(
                    "data.object.cancellation_details.reason", "string", "cancellation_requested, payment_failed, ..."
                ),
            ),
        ),
    ),
    deliveries,
    (
        Question(
            "stripe-revenue",
            "Revenue by month and currency?",
            "sum",
            {
                "event_collection": "stripe_charge_succeeded",
                "target_property": "data.object.amount",
                "timeframe": TWO_MONTHS,
                "interval": "monthly",
                "group_by": "data.object.currency",
            },
        ),
        Question(
            "stripe-failed",
            "Why do payments fail, how many customers does it concern, and how much is at stake?",
            "multi_analysis",
            {
                "event_collection": "stripe_charge_failed",
                "analyses": {
                    "attempts": {"analysis_type": "count"},
                    "customers": {"analysis_type": "count_unique", "target_property": CUSTOMER},
                    "largest": {"analysis_type": "maximum", "target_property": "data.object.amount"},
                },
                "timeframe": MARCH,
                "group_by": ["data.object.failure_code", "data.object.currency"],
            },
        ),
        Question(
            "stripe-recovered",
            "Of the customers whose payment failed, how many paid within a week?",
            "funnel",
            {
                "steps": [
                    {"event_collection": "stripe_charge_failed", "actor_property": CUSTOMER},
                    {"event_collection": "stripe_charge_succeeded", "actor_property": CUSTOMER},
                ],
                "timeframe": MARCH,
                "ordered": True,
                "window": "7 days",
            },
        ),
        Question(
            "stripe-started",
            "How many subscriptions began in each month, and in which state?",
            "count",
            {
                "event_collection": "stripe_customer_subscription_created",
                "timeframe": TWO_MONTHS,
                "interval": "monthly",
                "group_by": "data.object.status",
            },
        ),
        Question(
            "stripe-ended",
            "How many ended, and why?",
            "count",
            {
                "event_collection": "stripe_customer_subscription_deleted",
                "timeframe": MARCH,
                "group_by": "data.object.cancellation_details.reason",
            },
        ),
        Question(
            "stripe-new-money",
            "Which part of the dollars is new business, and which comes again?",
            "sum",
            {
                "event_collection": "stripe_invoice_paid",
                "target_property": "data.object.amount_paid",
                "timeframe": TWO_MONTHS,
                "filters": [{"property_name": "data.object.currency", "operator": "eq", "property_value": "usd"}],
                "group_by": "data.object.billing_reason",
            },
        ),
    ),
    complete=False,
)
