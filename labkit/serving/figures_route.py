"""GET /figures?minutes=5: how the last minutes went, with what is advised, and the lines that a dashboard draws."""
from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from labkit.errors import BadRequest
from labkit.serving.summary import told

router = APIRouter()
MOST_MINUTES = 7 * 24 * 60


@router.get("/figures")
async def figures(request: Request, minutes: str = "5"):
    watch, wanted = request.app.state.watch, _minutes(minutes)
    found = await asyncio.to_thread(told, watch.history, wanted)
    return {**found, "missing": watch.missing, "alerts_on": [rule.name for rule in watch.alerts.on]}


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= MOST_MINUTES:
        raise BadRequest(f"minutes={text!r}: give a number above 0, at most {MOST_MINUTES}.")
    return minutes
