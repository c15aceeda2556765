"""Nine weeks of a made-up online shop: visits to items, carts, and some of them bought."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from diary import Diary, Event

ZONE = "Europe/Berlin"
START = datetime(2026, 2, 1, tzinfo=ZoneInfo(ZONE))  # a Sunday
DAYS = 63  # in the last week clocks are put forward
END = START + timedelta(days=DAYS)
CUSTOMERS = 260
ITEMS = {  # by category: name, price
    "kitchen": {"kettle": 39.0, "pan": 54.5, "knife": 24.9, "mug": 8.5},
    "garden": {"hose": 31.0, "seeds": 3.2, "spade": 27.8},
    "books": {"novel": 14.0, "atlas": 48.0, "cook book": 29.0},
    "toys": {"puzzle": 16.5, "kite": 22.0},
}
CATEGORIES = {"kitchen": 4, "garden": 1, "books": 3, "toys": 2}  # how often each is looked at
HOURS = [1] * 7 + [3] * 5 + [4] * 5 + [7] * 5 + [3] * 2  # the shop is busiest in the evening
TAKES, CHECKS_OUT = 0.3, {"desktop": 0.6, "phone": 0.38}


def events(seed: int = 2) -> dict[str, list[Event]]:
    """The events by collection: view_item, add_to_cart, checkout and purchase, of which a checkout has one for each item."""
    rng = random.Random(seed)
    diary = Diary(END)
    order = 0
    for number in range(1, CUSTOMERS + 1):
        customer = {"id": f"customer-{number}"}
        device = rng.choices(("phone", "desktop"), (6, 4))[0]
        day = rng.uniform(0, DAYS)
        pause = rng.uniform(4, 30)  # days between visits of this customer
        while day < DAYS:
            at = START + timedelta(days=int(day), hours=rng.choices(range(24), HOURS)[0], seconds=rng.uniform(0, 3_000))
            who = {"customer": customer, "session": f"{number}-{day:.3f}", "device": device}
            cart = _visit(diary, rng, at, who)
            if cart and rng.random() < CHECKS_OUT[device]:
                order += 1
                _order(diary, rng, at, {**who, "order": order}, cart)
                pause = max(0.8 * pause, 4.0)  # who has bought comes sooner
            day += rng.expovariate(1 / pause) + 0.5
    return diary.events()


Item = dict[str, str | float]


def _visit(diary: Diary, rng: random.Random, at: datetime, who: Mapping[str, object]) -> list[Item]:
    """A visit; what is in the cart in the end."""
    cart: list[Item] = []
    for minute in range(rng.choice((1, 1, 2, 3, 4, 6))):
        category = rng.choices([*CATEGORIES], [*CATEGORIES.values()])[0]
        name = rng.choice([*ITEMS[category]])
        item: Item = {"name": name, "category": category, "price": ITEMS[category][name]}
        seen = at + timedelta(minutes=3 * minute, seconds=rng.uniform(0, 60))
        diary.note("view_item", seen, **who, item=item)
        if rng.random() < TAKES:
            diary.note("add_to_cart", seen + timedelta(seconds=rng.uniform(5, 90)), **who, item=item)
            cart.append(item)
    return cart


def _order(diary: Diary, rng: random.Random, at: datetime, who: Mapping[str, object], cart: list[Item]) -> None:
    paid = at + timedelta(minutes=rng.uniform(25, 55))
    total = 0.0
    for item in cart:
        quantity = rng.choice((1, 1, 1, 2))
        revenue = round(quantity * float(item["price"]), 2)
        total += revenue
        diary.note("purchase", paid, **who, item=item, quantity=quantity, revenue=revenue)
    diary.note("checkout", paid, **who, items=len(cart), total=round(total, 2))
