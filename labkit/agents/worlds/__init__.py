"""Four small worlds, and in each the simplest kind of agent that does well there.

| module    | world                         | type of agent                                   |
|-----------|-------------------------------|-------------------------------------------------|
| `room`    | a heated room over a day      | simple reflex: a rule on what is sensed now     |
| `house`   | a house, seen a few cells at a time | model-based: keeps a map of what it saw   |
| `town`    | streets, addresses, deadlines | goal-based: searches and plans before it acts   |
| `canteen` | one guest, unknown taste      | learning: acts better the more feedback it got  |

Nothing here knows a language model. Where people speak to an agent, it takes `read`: any function
from their words to what it needs. `labkit.course.words` has three, and counts how often each is right.
"""
from __future__ import annotations

from labkit.agents.worlds.base import (
    Episode,
    compare,
    draw_scores,
    run_episode,
    score_table,
)
from labkit.intervals import interval

__all__ = ["Episode", "compare", "draw_scores", "interval", "run_episode", "score_table"]
