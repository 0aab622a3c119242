"""Work that is accepted now and done later: POST /jobs, GET /jobs/{id}. It survives the end of the server.

A job is a chat completion without a stream. It waits behind every request that somebody is waiting for.
"""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from labkit.errors import BackendUnavailable, BadRequest
from labkit.serving.admission import Busy, Ticket
from labkit.serving.answering import read, service_of
from labkit.serving.failures import NotHere, describe
from labkit.serving.generation import Generation, Service
from labkit.serving.identity import check_model
from labkit.serving.job_store import ACCEPTED, Job, JobStore
from labkit.serving.openai_routes import ChatBody, completion
from labkit.serving.sqlite_file import StoreUnavailable
from labkit.serving.tickets import client_of

router = APIRouter()
AT_ONCE = 2    # jobs in the making
LOOK_S = 2.0   # between two looks for work, where nothing says that there is some
AGAIN_S = 1.0  # after a model that could not answer
BEHIND = 100   # in the queue: below every priority that a request can have
WAITING = 10_000          # jobs that are kept for later
KEEP_S = 7 * 24 * 3600.0  # an answer, for whoever asks for it
SWEEP_S = 3600.0          # between two looks for answers that are older


class Jobs:
    """The store, and the tasks that do what is in it. start() and close() belong to a running event loop."""

    def __init__(self, store: JobStore, service: Service):
        self.store, self.service = store, service
        self._news, self._tasks, self._trouble = asyncio.Event(), [], ""
        self._swept = float("-inf")

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]

    async def close(self) -> None:
        """Stop; what was in the making waits for the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.store.close()

    async def accept(self, **job: Any) -> Job:
        if (await asyncio.to_thread(self.store.counts))[ACCEPTED] >= WAITING:
            raise Busy(f"{WAITING} jobs are waiting already.", AGAIN_S * AT_ONCE)
        accepted = await asyncio.to_thread(lambda: self.store.accept(**job))
        self._news.set()
        return accepted

    def reasons(self) -> list[str]:
        """What is wrong with the store."""
        aside = self.store.moved_aside
        damaged = [f"the file of the jobs was damaged; it is now {aside.name}"] if aside else []
        return damaged + ([self._trouble] if self._trouble else [])

    async def _work(self) -> None:
        while True:
            job = await self._next()
            if job:
                await self._do(job)
            else:
                self._news.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), LOOK_S)

    async def _next(self) -> Job | None:
        """A store that fails now may work later."""
        if self.service.admission.pauses:
            return None
        try:
            if time.monotonic() - self._swept >= SWEEP_S:
                self._swept = time.monotonic()
                await asyncio.to_thread(self.store.forget, KEEP_S)
            job, self._trouble = await asyncio.to_thread(self.store.take), ""
            return job
        except StoreUnavailable as error:
            self._trouble = str(error)
            return None

    async def _do(self, job: Job) -> None:
        try:
            body = ChatBody.model_validate(job.body)
            ticket = Ticket("jobs", job.priority - BEHIND)
            reply = await Generation(self.service, body.messages, body.arguments(), ticket).whole()
        except asyncio.CancelledError:
            with suppress(StoreUnavailable):  # then the next start puts it back
                self.store.release(job.id)
            raise
        except (Busy, BackendUnavailable):
            await self._kept(self.store.release, job.id)
            await asyncio.sleep(AGAIN_S)
        except Exception as error:
            await self._kept(self.store.fail, job.id, describe(error)[2])
        else:
            await self._kept(self.store.finish, job.id, completion(reply, self.service, job.id))

    async def _kept(self, act: Callable[..., Any], *values: Any) -> None:
        """Write it, again and again where the disk does not take it: what was done must not be lost."""
        while True:
            try:
                await asyncio.to_thread(act, *values)
                return
            except StoreUnavailable as error:
                self._trouble = str(error)
                await asyncio.sleep(AGAIN_S)


def _jobs_of(request: Request) -> Jobs:
    if (jobs := request.app.state.jobs) is None:
        raise NotHere("This server keeps no jobs. Start it with: labkit serve --jobs FILE")
    return jobs


@router.post("/jobs")
async def accept(request: Request):
    jobs, body = _jobs_of(request), await read(request, ChatBody)
    if body.stream:
        raise BadRequest("A job has no stream: its answer is kept until somebody asks for it.")
    check_model(service_of(request), body.model)
    body.arguments()  # what makes no sense is refused now
    ticket = service_of(request).ticket(request, body.user)
    job = await jobs.accept(body=body.model_dump(exclude_none=True), client=ticket.client, priority=ticket.priority,
                            idempotency=request.headers.get("idempotency-key"))
    return JSONResponse(_shown(job), 202, {"location": f"/jobs/{job.id}"})


@router.get("/jobs/{id}")
async def look(request: Request, id: str):
    job = await asyncio.to_thread(_jobs_of(request).store.get, id)
    if job is None or job.client.split()[:2] != client_of(request, None).split()[:2]:
        raise NotHere(f"There is no job {id!r} of yours.")
    return _shown(job)


def _shown(job: Job) -> dict[str, Any]:
    return {"id": job.id, "state": job.state, "attempts": job.attempts, "created": job.created,
            "changed": job.changed, "result": job.result, "error": job.error}
