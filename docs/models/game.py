"""A game: players come, play levels in sessions, come back or do not, and a few buy."""

from collections.abc import Sequence
from typing import Any

from docs.models.model import Collection, Delivery, Model, Property, bulk
from docs.queries.example import Question

WEEKS = {"start": "2026-03-01", "end": "2026-03-15"}
PLAYERS = {"p_1": "ios", "p_2": "android", "p_3": "android", "p_4": "ios", "p_5": "android"}
PRODUCTS = {"coins_s": ("Pouch of coins", 99), "coins_l": ("Chest of coins", 1999)}
# A session a line: when it ended, who, how long; the levels that were played, lost (-) or won; what was bought after it.
SESSIONS: tuple[tuple[str, str, int, str, str | None], ...] = (
    ("2026-03-01T10:20:00Z", "p_1", 1200, "1 2 -3 -3", None),
    ("2026-03-01T18:05:00Z", "p_2", 300, "-1 1", None),
    ("2026-03-02T10:40:00Z", "p_1", 1500, "-3 3", "coins_s"),
    ("2026-03-02T21:10:00Z", "p_3", 240, "1", None),
    ("2026-03-03T09:30:00Z", "p_1", 1800, "4 -5", "coins_l"),
    ("2026-03-03T19:20:00Z", "p_3", 900, "2 -3 -3", None),
    ("2026-03-03T20:45:00Z", "p_4", 600, "1 2", None),
    ("2026-03-04T07:15:00Z", "p_5", 60, "-1", None),
    ("2026-03-08T11:00:00Z", "p_1", 2400, "5 6", None),
    ("2026-03-10T20:10:00Z", "p_4", 720, "-3 3", "coins_s"),
    ("2026-03-10T22:30:00Z", "p_3", 480, "-3", None),
)
PLAYER = "player.id"


def deliveries() -> Sequence[Delivery]:
    """All events in one request: who comes first, then each session's levels, its end, and what was bought."""
    events: list[tuple[str, str, dict[str, Any]]] = []
    tries: dict[tuple[str, int], int] = {}
    payers: set[str] = set()
    for number, (time, player, seconds, played, product) in enumerate(SESSIONS, 1):
        first = all(player != one[1] for one in SESSIONS[: number - 1])
        segment = "payer" if player in payers else "new" if first else "returning"
        who = {"player": {"id": player, "platform": PLAYERS[player], "segment": segment}, "game": {"version": "1.4"}}
        session = {"session": {"id": f"s_{number}"}}
        minute = time[:14]
        if first:
            events.append((f"{minute}00:00Z", "player_created", who))
        for second, text in enumerate(played.split()):
            level = int(text.removeprefix("-"))
            tries[player, level] = tries.get((player, level), 0) + 1
            played_level = {"level": {"number": level, "attempt": tries[player, level]}}
            events.append((f"{minute}01:{2 * second:02}Z", "level_started", who | session | played_level))
            won = played_level | {"won": text[0] != "-", "score": 100 * level if text[0] != "-" else 0}
            events.append((f"{minute}01:{2 * second + 1:02}Z", "level_ended", who | session | won))
        events.append((time, "session_ended", who | session | {"seconds": seconds}))
        if product:
            name, amount = PRODUCTS[product]
            sold = {"product": {"id": product, "name": name}, "amount": amount, "currency": "usd"}
            events.append((time, "product_bought", who | session | sold))
            payers.add(player)
    return bulk(events)


_SESSION = Property("session.id", "string", "one time of playing")
_LEVEL = (
    _SESSION,
    Property("level.number", "num", "which level; a number, so that levels sort as such"),
    Property("level.attempt", "num", "which try of this player at this level, from 1"),
)

MODEL = Model(
    "game",
    "Game",
    "Players come, play levels, come back another day or do not, and a few buy.",
    (
        "How a level ended is a property, `won`, and no collection of its own: then one question gives the share of wins. `level_started` is there for "
        "levels that nobody ended: a crash, or a player who gave up.",
        "What is known when the event happens and is tedious to find out afterwards is counted by the game and sent along: `level.attempt`, "
        "`player.segment`, `seconds`.",
        "`session_ended` has the session's length; asking for the time between two events would need both of each session side by side.",
        "A player is a random id of the installation. Neither nickname nor device id is needed for any of these questions.",
    ),
    (
        Property(PLAYER, "string", "who; a random id"),
        Property("player.platform", "string", "ios or android"),
        Property("player.segment", "string", "new, returning, payer (bought before), at that moment"),
        Property("game.version", "string", "a text: 1.10 comes after 1.9, and is no number"),
    ),
    (
        Collection("player_created", "Somebody started the game for the first time."),
        Collection("level_started", "A level began.", _LEVEL),
        Collection(
            "level_ended",
            "A level was won or lost.",
            (*_LEVEL, Property("won", "bool", "how it ended"), Property("score", "num", "what it brought")),
        ),
        Collection(
            "session_ended", "The game was left.", (_SESSION, Property("seconds", "num", "how long the session was"))
        ),
        Collection(
            "product_bought",
            "Something was bought in the game.",
            (
                _SESSION,
                Property("product.id", "string", "what"),
                Property("product.name", "string", "what to show for it"),
                Property("amount", "num", "what it cost, in cents"),
                Property("currency", "string", "of the amount"),
            ),
        ),
    ),
    deliveries,
    (
        Question(
            "game-active",
            "How many players are there on each day (DAU)?",
            "count_unique",
            {
                "event_collection": "session_ended",
                "target_property": PLAYER,
                "timeframe": {"start": "2026-03-01", "end": "2026-03-05"},
                "interval": "daily",
            },
        ),
        Question(
            "game-retention",
            "Of those who began on a day, how many played one day later (D1), and how many seven days later (D7)? The first column is the day itself.",
            "retention",
            {
                "first_event": {"event_collection": "player_created", "actor_property": PLAYER},
                "returning_event": {"event_collection": "session_ended", "actor_property": PLAYER},
                "unit": "day",
                "units": 7,
                "timeframe": {"start": "2026-03-01", "end": "2026-03-05"},
            },
        ),
        Question(
            "game-difficulty",
            "How often is each of the first three levels won and lost?",
            "count",
            {
                "event_collection": "level_ended",
                "timeframe": WEEKS,
                "filters": [{"property_name": "level.number", "operator": "lte", "property_value": 3}],
                "group_by": ["level.number", "won"],
            },
        ),
        Question(
            "game-attempts",
            "How many tries does it take to win a level, the hardest two?",
            "average",
            {
                "event_collection": "level_ended",
                "target_property": "level.attempt",
                "timeframe": WEEKS,
                "filters": [{"property_name": "won", "operator": "eq", "property_value": True}],
                "group_by": "level.number",
                "order_by": {"property_name": "result", "direction": "DESC"},
                "limit": 2,
            },
        ),
        Question(
            "game-progress",
            "How many players have won level 1, then 2, then 3?",
            "funnel",
            {
                "steps": [
                    {
                        "event_collection": "level_ended",
                        "actor_property": PLAYER,
                        "filters": [
                            {"property_name": "level.number", "operator": "eq", "property_value": level},
                            {"property_name": "won", "operator": "eq", "property_value": True},
                        ],
                    }
                    for level in (1, 2, 3)
                ],
                "timeframe": WEEKS,
            },
        ),
        Question(
            "game-sessions",
            "How long are sessions: the median, and what 90 % of them do not exceed, in seconds?",
            "multi_analysis",
            {
                "event_collection": "session_ended",
                "analyses": {
                    "sessions": {"analysis_type": "count"},
                    "median": {"analysis_type": "median", "target_property": "seconds"},
                    "p90": {"analysis_type": "percentile", "target_property": "seconds", "percentile": 90},
                },
                "timeframe": WEEKS,
                "group_by": "player.platform",
            },
        ),
        Question(
            "game-purchases",
            "Who buys, first-time buyers or those who bought before, and for how much?",
            "multi_analysis",
            {
                "event_collection": "product_bought",
                "analyses": {
                    "players": {"analysis_type": "count_unique", "target_property": PLAYER},
                    "purchases": {"analysis_type": "count"},
                    "revenue": {"analysis_type": "sum", "target_property": "amount"},
                },
                "timeframe": WEEKS,
                "group_by": ["player.segment", "currency"],
            },
        ),
    ),
)
