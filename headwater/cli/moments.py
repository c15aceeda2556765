"""Points in time as options name them: ISO 8601, or how long ago."""

import re
import time

import typer

from headwater.rules import RuleError, parse_timestamp

_AGO = re.compile("([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

MOMENT_HELP = "ISO 8601, or so long ago: 90s, 30m, 24h, 7d"


def moment(text: str | None, option: str) -> int | None:
    """Milliseconds since 1970 UTC; None where nothing is given. Raises typer.BadParameter."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return time.time_ns() // 1_000_000 - int(ago[1]) * _SECONDS[ago[2]] * 1_000
    try:
        return parse_timestamp(text)
    except RuleError:
        raise typer.BadParameter(f"{option}: {text!r} is no time: {MOMENT_HELP}.") from None
