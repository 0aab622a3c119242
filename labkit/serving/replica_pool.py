"""The replicas behind a gateway: which of them answer, and who is asked first. Knows no requests."""
from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from labkit.serving.rollout import STABLE, Rollout

HEALTH_S = 1.0   # between two looks at a replica
CONNECT_S = 2.0
MISSES = 2       # looks without an answer, and it gets no more requests
FALLBACK = "fallback"


@dataclass
class Replica:
    """A server. version: "stable", "canary" or "fallback". model: what it calls its model; found out, if None.

    key: sent instead of the client's; None to pass the client's on.
    """

    url: str
    version: str = STABLE
    model: str | None = None
    key: str | None = field(default=None, repr=False)
    busy: int = 0
    served: int = 0
    misses: int = 0

    @property
    def healthy(self) -> bool:
        return self.misses < MISSES

    def died(self) -> None:
        """It gets no more requests until a look finds it well."""
        self.misses = max(self.misses, MISSES)

    def shown(self) -> dict[str, Any]:
        return {"url": self.url, "version": self.version, "model": self.model, "healthy": self.healthy,
                "busy": self.busy, "served": self.served}


class Pool:
    """key: to ask the own replicas what their model is called."""

    def __init__(self, replicas: Sequence[Replica], client: httpx.AsyncClient, rollout: Rollout,
                 key: str | None = None):
        self.replicas, self._client, self._rollout = list(replicas), client, rollout
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self.own = [replica for replica in replicas if replica.version != FALLBACK]

    def candidates(self, version: str, session: str | None) -> Iterator[Replica]:
        """In the order of asking: the healthy of a version, those of the other version, the fallbacks, the rest."""
        usable = [r for r in self.own if r.version in self._rollout.usable()]
        order = sorted(usable, key=lambda r: (r.version != version, *_rank(r, session)))
        yield from [replica for replica in order if replica.healthy]
        yield from [replica for replica in self.replicas if replica.version == FALLBACK]
        yield from [replica for replica in order if not replica.healthy]

    def models(self) -> set[str]:
        """What the own replicas call their models."""
        return {replica.model for replica in self.own if replica.model}

    async def watch(self) -> None:
        """Look at the own replicas, again and again."""
        while True:
            await asyncio.gather(*map(self._look, self.own))
            await asyncio.sleep(HEALTH_S)

    async def _look(self, replica: Replica) -> None:
        try:
            answer = await self._client.get(f"{replica.url}/health", timeout=CONNECT_S)
            replica.misses = 0 if answer.status_code == 200 else replica.misses + 1
            if replica.healthy and replica.model is None:
                replica.model = await self._model_of(replica)
        except (httpx.HTTPError, ValueError, LookupError):
            replica.misses += 1

    async def _model_of(self, replica: Replica) -> str | None:
        answer = await self._client.get(f"{replica.url}/v1/models", headers=self._headers, timeout=CONNECT_S)
        return answer.json()["data"][0]["id"] if answer.status_code == 200 else None


def _rank(replica: Replica, session: str | None) -> tuple:
    """The least busy first; with a session always the same order (rendezvous hashing)."""
    if session is None:
        return replica.busy, replica.served
    return (uuid.uuid5(uuid.NAMESPACE_URL, f"{replica.url} {session}").int,)
