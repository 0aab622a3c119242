"""Days and times as the tools take them, and what to say of those that are none."""
from __future__ import annotations

import datetime
import re

from labkit.errors import ToolError


def a_day(text: str) -> str:
    """A day, YYYY-MM-DD. Raises ToolError for what is none."""
    try:
        return datetime.datetime.strptime(text.strip(), "%Y-%m-%d").date().isoformat()
    except ValueError:
        raise ToolError(f"{text[:40]!r} is no day. Give it like 2026-03-09.") from None


def a_time(text: str) -> str:
    """A time of day, HH:MM. Raises ToolError for what is none."""
    if not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", text.strip()):
        raise ToolError(f"{text[:40]!r} is no time. Give it like 14:30.")
    return text.strip().zfill(5)


def not_past(day: str, today: str) -> str:
    """The day, if it is today or later. Raises ToolError for one that is over."""
    if day < today:
        raise ToolError(f"{day} is over: today is {today}. Ask for another day.")
    return day


def minutes(time: str) -> int:
    """Minutes since midnight of HH:MM."""
    hour, minute = map(int, time.split(":"))
    return 60 * hour + minute
