"""Twelve weeks of a made-up B2B service: companies try it for free, some subscribe, pay monthly, and some of those leave."""

import random
from datetime import UTC, datetime, timedelta

from diary import Diary, Event

START = datetime(2026, 1, 4, tzinfo=UTC)  # a Sunday
WEEKS = 12
END = START + timedelta(weeks=WEEKS)
PRICES = {"starter": 19, "team": 49, "business": 199}
FEATURES = {"report": 5, "export": 3, "invite_colleague": 2, "alert": 2, "api_call": 1}  # how often each is used
# By where companies come from: how many of them, the chance to begin at all, the chance to still be there a week later.
SOURCES = {"ads": (5, 0.55, 0.62), "search": (4, 0.7, 0.78), "friend": (2, 0.9, 0.9)}
SUBSCRIBE = 0.6
CANCEL = 0.35  # at the end of each paid month
REASONS = {"too expensive": 4, "missing feature": 3, "no longer needed": 2}


def events(seed: int = 1) -> dict[str, list[Event]]:
    """The events by collection: create_account, use_feature, subscribe, invoice_payment, cancel_subscription."""
    rng = random.Random(seed)
    diary = Diary(END)
    number = 0
    for week in range(WEEKS):
        for _ in range(14 + week // 2):  # a few more as time goes by
            number += 1
            signed_up = START + timedelta(weeks=week, days=rng.choice((1, 1, 2, 2, 3, 4, 5)), hours=rng.uniform(7, 18))
            _account(diary, rng, f"company-{number}", signed_up)
    return diary.events()


def _account(diary: Diary, rng: random.Random, name: str, at: datetime) -> None:
    source = rng.choices([*SOURCES], [weight for weight, _, _ in SOURCES.values()])[0]
    _, begins, stays = SOURCES[source]
    account = {"id": name, "source": source}
    diary.note("create_account", at, account=account, employees=round(rng.lognormvariate(3, 1)) + 1)
    if rng.random() > begins:
        return
    left = _subscription(diary, rng, account, at) if rng.random() < SUBSCRIBE else None
    week = 0
    while week == 0 or rng.random() < stays:
        for _ in range(rng.randint(2, 7)):
            used = at + timedelta(weeks=week, hours=rng.uniform(0.1, 24 * 5))
            if left is None or used < left:
                feature = rng.choices([*FEATURES], [*FEATURES.values()])[0]
                diary.note("use_feature", used, account=account, feature=feature, seconds=rng.randint(5, 600))
        week += 1
        if at + timedelta(weeks=week) >= END:
            return


def _subscription(diary: Diary, rng: random.Random, account: dict[str, str], at: datetime) -> datetime | None:
    """Pays each month until it leaves; returns when it does, None where that is not within these weeks."""
    plan = rng.choices([*PRICES], (5, 4, 1))[0]
    due = at + timedelta(days=rng.uniform(2, 20))
    diary.note("subscribe", due, account=account, plan=plan)
    while due < END:
        diary.note("invoice_payment", due, account=account, plan=plan, amount=PRICES[plan])
        due += timedelta(days=30)
        if rng.random() < CANCEL:
            reason = rng.choices([*REASONS], [*REASONS.values()])[0]
            diary.note("cancel_subscription", due, account=account, plan=plan, reason=reason)
            return due
    return None
