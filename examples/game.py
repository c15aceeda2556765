"""Three weeks of a made-up game: players come, climb its levels, stop sooner or later, and a few buy coins."""

import random
from datetime import UTC, datetime, timedelta

from diary import Diary, Event

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 21
END = START + timedelta(days=DAYS)
LEVELS = 10
PLAYERS = 240  # who come in the first two weeks
STAYS = {"ios": 0.88, "android": 0.78}  # the chance to come back another day, after each day of play
# The chance to win a level at one try: level 6 was made too hard.
WINS = {1: 0.95, 2: 0.9, 3: 0.85, 4: 0.8, 5: 0.75, 6: 0.28, 7: 0.7, 8: 0.65, 9: 0.6, 10: 0.55}
PRODUCTS = {"pouch of coins": 0.99, "bag of coins": 4.99, "chest of coins": 19.99}


def events(seed: int = 3) -> dict[str, list[Event]]:
    """The events by collection: new_player, level_start, level_complete, in_game_purchase."""
    rng = random.Random(seed)
    diary = Diary(END)
    for number in range(1, PLAYERS + 1):
        platform = rng.choices(("android", "ios"), (6, 4))[0]
        came = START + timedelta(days=rng.uniform(0, 14))
        player = {"id": f"player-{number}", "platform": platform}
        diary.note("new_player", came, player=player)
        _life(diary, rng, player, came)
    return diary.events()


def _life(diary: Diary, rng: random.Random, player: dict[str, str], at: datetime) -> None:
    reached = 1  # the level that the player is at; who has completed all plays them again
    spends = rng.random() < 0.2
    while at < END:
        for _ in range(rng.randint(1, 5)):
            at += timedelta(minutes=rng.uniform(1, 6))
            level = reached if reached <= LEVELS else rng.randint(1, LEVELS)
            diary.note("level_start", at, player=player, level=level)
            if rng.random() < WINS[level]:
                seconds = rng.randint(30, 60 + 20 * level)
                won = at + timedelta(seconds=seconds)
                diary.note("level_complete", won, player=player, level=level, seconds=seconds)
                reached = max(reached, level + 1)
            elif spends and rng.random() < 0.4:
                product = rng.choices([*PRODUCTS], (6, 3, 1))[0]
                price = PRODUCTS[product]
                bought = at + timedelta(seconds=20)
                diary.note("in_game_purchase", bought, player=player, product=product, price=price, level=level)
        if rng.random() > STAYS[player["platform"]]:
            return
        at += timedelta(days=1 + rng.choice((0, 0, 0, 1, 2)), hours=rng.uniform(-6, 6))
