"""An online shop: items that are looked at, put into carts, and bought."""

from collections.abc import Sequence
from typing import Any

from docs.models.model import Collection, Delivery, Model, Property, bulk
from docs.queries.example import Question

MARCH = {"start": "2026-03-01", "end": "2026-04-01"}
ITEMS = {  # name, category, price in cents
    "sku_10": ("Kettle", "kitchen", 3900),
    "sku_11": ("Pan", "kitchen", 5450),
    "sku_20": ("Novel", "books", 1400),
    "sku_21": ("Atlas", "books", 4800),
    "sku_30": ("Kite", "toys", 2200),
}
DESKTOP = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
    "Mobile/15E148 Safari/604.1"
)
AMERICA, NETHERLANDS = "8.8.8.8", "193.0.6.139"
VISITS = {  # session: customer, user agent, address, campaign
    "s1": ("c_1", DESKTOP, AMERICA, "spring"),
    "s2": ("c_2", PHONE, NETHERLANDS, "spring"),
    "s3": ("c_3", PHONE, AMERICA, "none"),
    "s4": ("c_1", DESKTOP, AMERICA, "none"),
    "s5": ("c_4", DESKTOP, NETHERLANDS, "friends"),
    "s6": ("c_2", PHONE, NETHERLANDS, "friends"),
    "s7": ("c_5", PHONE, AMERICA, "spring"),
    "s8": ("c_1", PHONE, AMERICA, "spring"),
}
HISTORY: tuple[tuple[str, str, str, Any], ...] = (
    ("2026-03-02T18:00:00Z", "s1", "item_viewed", "sku_10"),
    ("2026-03-02T18:02:00Z", "s1", "item_viewed", "sku_20"),
    ("2026-03-02T18:03:00Z", "s1", "item_added_to_cart", "sku_10"),
    ("2026-03-02T18:04:00Z", "s1", "item_added_to_cart", "sku_20"),
    ("2026-03-02T18:20:00Z", "s1", "order_completed", ("o_1", {"sku_10": 1, "sku_20": 2})),
    ("2026-03-03T20:00:00Z", "s2", "item_viewed", "sku_21"),
    ("2026-03-03T20:01:00Z", "s2", "item_added_to_cart", "sku_21"),
    ("2026-03-04T07:30:00Z", "s3", "item_viewed", "sku_30"),
    ("2026-03-06T12:00:00Z", "s5", "item_viewed", "sku_11"),
    ("2026-03-06T12:03:00Z", "s5", "item_added_to_cart", "sku_11"),
    ("2026-03-06T12:15:00Z", "s5", "order_completed", ("o_2", {"sku_11": 1})),
    ("2026-03-10T19:00:00Z", "s4", "item_viewed", "sku_30"),
    ("2026-03-10T19:01:00Z", "s4", "item_added_to_cart", "sku_30"),
    ("2026-03-10T19:30:00Z", "s4", "order_completed", ("o_3", {"sku_30": 1})),
    ("2026-03-12T21:00:00Z", "s6", "item_viewed", "sku_21"),
    ("2026-03-12T21:02:00Z", "s6", "item_added_to_cart", "sku_21"),
    ("2026-03-12T21:10:00Z", "s6", "order_completed", ("o_4", {"sku_21": 1})),
    ("2026-03-17T22:00:00Z", "s7", "item_viewed", "sku_10"),
    ("2026-03-17T22:05:00Z", "s7", "item_added_to_cart", "sku_10"),
    ("2026-03-24T20:00:00Z", "s8", "item_viewed", "sku_21"),
    ("2026-03-24T20:04:00Z", "s8", "item_added_to_cart", "sku_21"),
    ("2026-03-24T20:12:00Z", "s8", "order_completed", ("o_5", {"sku_20": 1, "sku_21": 1})),
)
ADDONS = (
    {"name": "keen:ip_to_geo", "input": {"ip": "ip", "remove_ip_property": True}, "output": "geo"},
    {"name": "keen:ua_parser", "input": {"ua_string": "user_agent"}, "output": "client"},
    {"name": "keen:url_parser", "input": {"url": "page.url"}, "output": "page.parsed"},
)

SESSION, CUSTOMER = "session.id", "customer.id"


def deliveries() -> Sequence[Delivery]:
    """All events in one request; a completed order is one event, and one more for each of its items."""
    events = []
    for time, session, collection, detail in HISTORY:
        customer, user_agent, ip, campaign = VISITS[session]
        who: dict[str, Any] = {
            "session": {"id": session},
            "customer": {"id": customer},
            "ip": ip,
            "user_agent": user_agent,
            "page": {"url": f"https://shop.example.com/{collection}?utm_campaign={campaign}"},
            "currency": "eur",
        }
        if collection != "order_completed":
            events.append((time, collection, who | {"item": _item(detail)}))
            continue
        order, bought = detail
        total = sum(quantity * ITEMS[item][2] for item, quantity in bought.items())
        events.append((time, collection, who | {"order": {"id": order, "items": len(bought), "total": total}}))
        for item, quantity in bought.items():
            line = {
                "order": {"id": order},
                "item": _item(item),
                "quantity": quantity,
                "revenue": quantity * ITEMS[item][2],
            }
            events.append((time, "item_purchased", who | line))
    return bulk(events, ADDONS)


def _item(item: str) -> dict[str, Any]:
    name, category, price = ITEMS[item]
    return {"id": item, "name": name, "category": category, "price": price}


_ITEM = (
    Property("item.id", "string", "which item"),
    Property("item.name", "string", "what to show for it"),
    Property("item.category", "string", "its category at that moment"),
    Property("item.price", "num", "its price at that moment, in cents"),
)

MODEL = Model(
    "shop",
    "Online shop",
    "Visitors look at items, fill carts, buy, and come again.",
    (
        'An order is one event in `order_completed` *and* one in `item_purchased` for each item. "How large are orders" and "what sells" are '
        "questions about different things; a list of items inside an order answers only the first.",
        "`session.id` is the actor of carts, `customer.id` of coming back. Item, category and price are copied into each event: catalogues change.",
        "Amounts are whole cents with their currency beside them, so that sums are exact. Group or filter by `currency` as soon as there are two.",
        'The browser sends `"ip": "${keen.ip}"` and `"user_agent": "${keen.user_agent}"`, and three add-ons make `geo`, `client` and `page.parsed` of '
        "them. `remove_ip_property` then takes the address away: the country answers the questions, and an address is a person's.",
    ),
    (
        Property(SESSION, "string", "the visit"),
        Property(CUSTOMER, "string", "who; a random id from a cookie or the account, no name"),
        Property("currency", "string", "of all amounts in the event"),
        Property("page.url", "string", "where it happened"),
        Property("page.parsed.query_string.utm_campaign", "string", "by add-on: what brought the visitor"),
        Property("client.device.type", "string", "by add-on, from the user agent"),
        Property("geo.country", "string", "by add-on, from the address that is then removed"),
    ),
    (
        Collection("item_viewed", "Somebody looked at an item.", _ITEM),
        Collection("item_added_to_cart", "Somebody put it into the cart.", _ITEM),
        Collection(
            "order_completed",
            "Somebody bought what was in the cart.",
            (
                Property("order.id", "string", "which order"),
                Property("order.items", "num", "how many different items"),
                Property("order.total", "num", "in cents"),
            ),
        ),
        Collection(
            "item_purchased",
            "One item of a completed order.",
            (
                Property("order.id", "string", "of which order"),
                *_ITEM,
                Property("quantity", "num", "how many of it"),
                Property("revenue", "num", "quantity times price, in cents"),
            ),
        ),
    ),
    deliveries,
    (
        Question(
            "shop-conversion",
            "How many visits that looked at something filled a cart, and how many bought?",
            "funnel",
            {
                "steps": [
                    {"event_collection": name, "actor_property": SESSION}
                    for name in ("item_viewed", "item_added_to_cart", "order_completed")
                ],
                "timeframe": MARCH,
            },
        ),
        Question(
            "shop-abandoned",
            "Which carts were left?",
            "funnel",
            {
                "steps": [
                    {"event_collection": "item_added_to_cart", "actor_property": SESSION},
                    {
                        "event_collection": "order_completed",
                        "actor_property": SESSION,
                        "inverted": True,
                        "with_actors": True,
                    },
                ],
                "timeframe": MARCH,
            },
        ),
        Question(
            "shop-revenue",
            "Revenue by category and week, without what is nothing?",
            "sum",
            {
                "event_collection": "item_purchased",
                "target_property": "revenue",
                "timeframe": MARCH,
                "interval": "weekly",
                "group_by": "item.category",
                "zero_fill": False,
            },
        ),
        Question(
            "shop-order-value",
            "The average order, by device?",
            "multi_analysis",
            {
                "event_collection": "order_completed",
                "analyses": {
                    "orders": {"analysis_type": "count"},
                    "average": {"analysis_type": "average", "target_property": "order.total"},
                    "largest": {"analysis_type": "maximum", "target_property": "order.total"},
                },
                "timeframe": MARCH,
                "group_by": ["client.device.type", "currency"],
            },
        ),
        Question(
            "shop-campaigns",
            "What do campaigns bring, the best one first?",
            "sum",
            {
                "event_collection": "order_completed",
                "target_property": "order.total",
                "timeframe": MARCH,
                "group_by": "page.parsed.query_string.utm_campaign",
                "filters": [
                    {
                        "property_name": "page.parsed.query_string.utm_campaign",
                        "operator": "ne",
                        "property_value": "none",
                    }
                ],
                "order_by": {"property_name": "result", "direction": "DESC"},
            },
        ),
        Question(
            "shop-sizes",
            "How many orders are small (below 30 euros), middling, large (60 and more)?",
            "count",
            {
                "event_collection": "order_completed",
                "timeframe": MARCH,
                "group_by": {
                    "property_name": "order.total",
                    "ranges": [{"to": 3000}, {"from": 3000, "to": 6000}, {"from": 6000}],
                },
            },
        ),
        Question(
            "shop-repeat",
            "Who buys again in the weeks after the first order?",
            "retention",
            {
                "first_event": {"event_collection": "order_completed", "actor_property": CUSTOMER},
                "unit": "week",
                "units": 3,
                "timeframe": {"start": "2026-03-01", "end": "2026-03-15"},
            },
        ),
    ),
)
