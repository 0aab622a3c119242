"""A gateway in front of replicas: a request goes to the least busy one that is healthy, and on to another if it dies.

An answer that has not begun is asked for again, at every replica once and then at the fallbacks: a chat changes
nothing, so asking twice does no harm. An answer that comes in pieces passes through as it comes, and ends with an
error if its replica dies in the middle.
"""
from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from labkit.serving import forwarding
from labkit.serving.background import Background
from labkit.serving.failures import RETRY_S, body_for
from labkit.serving.guard import Guard
from labkit.serving.metrics import SECONDS
from labkit.serving.replica_pool import CONNECT_S, Pool, Replica
from labkit.serving.rollout import Rollout

AGAIN = {500, 502, 503}  # another replica may do better; 501 and 504 would be the same again
ANSWER_S = 605.0


class NoAnswer(Exception):
    """A replica died before its answer had begun."""


class Gateway:
    """replicas: the own ones, and the fallbacks in their order. names: of the model, whatever version answers.

    key: asked of every client, and of the gateway by the own replicas. answer_s: the most an answer may take.
    """

    def __init__(self, replicas: Sequence[Replica], rollout: Rollout | None = None, names: Sequence[str] = (),
                 key: str | None = None, answer_s: float = ANSWER_S):
        self.rollout, self.key, self._names = rollout or Rollout(), key, set(names)
        self._client = httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(answer_s, connect=CONNECT_S),
                                         limits=httpx.Limits(max_connections=None, max_keepalive_connections=64))
        self.pool = Pool(replicas, self._client, self.rollout, key)
        self.registry = own = CollectorRegistry()
        self._requests = Counter("labkit_gateway_requests", "Requests at replicas by version and end.",
                                 ["version", "end"], registry=own)
        self._again = Counter("labkit_gateway_retries", "Requests asked of a further replica.", registry=own)
        self._seconds = Histogram("labkit_gateway_seconds", "Time of a request at a replica.", ["version"],
                                  buckets=SECONDS, registry=own)
        Gauge("labkit_gateway_replicas_healthy", "Own replicas that answer.", registry=own).set_function(
            lambda: sum(replica.healthy for replica in self.pool.own))

    async def answer(self, request: Request, body: bytes, send) -> None:
        """Ask replicas until one answers, and pass its answer on."""
        asked, refused = forwarding.parsed(body), None
        session = forwarding.session_of(request.url.path, asked)
        for i, replica in enumerate(self.pool.candidates(self.rollout.choose(session), session)):
            self._again.inc(min(i, 1))
            content = forwarding.body_to(replica, asked, body, self._names | self.pool.models())
            try:
                if (refused := await self._ask(replica, request, content, send)) is None:
                    return
            except NoAnswer:
                replica.died()
        told = body_for(request.url.path, 503, "backend_unavailable", "No replica answers. Ask again later.")
        refused = refused or JSONResponse(told, 503, {"retry-after": str(RETRY_S)})
        await refused(request.scope, request.receive, send)

    async def _ask(self, replica: Replica, request: Request, content: bytes, send) -> Response | None:
        """Pass the replica's answer on; what it said instead, where another may do better. Raises NoAnswer."""
        began, end = time.perf_counter(), "left"
        url = f"{replica.url}{request.url.path}{f'?{request.url.query}' if request.url.query else ''}"
        replica.busy += 1
        try:
            async with self._client.stream(request.method, url, content=content,
                                           headers=forwarding.headers_to(replica, request)) as answer:
                if forwarding.kind_of(answer.headers) in forwarding.PIECES and answer.status_code == 200:
                    end = "200" if await _in_pieces(replica, answer, request, send) else "died"
                    return None
                whole = _response(replica, answer, await _read(answer))
                end = str(answer.status_code)
            if answer.status_code in AGAIN:
                return whole
            await whole(request.scope, request.receive, send)
        except httpx.TransportError as error:
            end = "died"
            raise NoAnswer from error
        finally:
            replica.busy, replica.served = replica.busy - 1, replica.served + 1
            self._note(replica, request.method, end, time.perf_counter() - began)

    def _note(self, replica: Replica, method: str, end: str, seconds: float) -> None:
        self._requests.labels(replica.version, end).inc()
        self._seconds.labels(replica.version).observe(seconds)
        if method == "POST" and end != "left" and not end.startswith("4"):  # what clients do says nothing of a version
            self.rollout.record(replica.version, end.startswith("2"), seconds)

    def shown(self) -> dict[str, Any]:
        """Its state, as JSON can hold it."""
        return {"said": str(self.rollout), "state": self.rollout.state,
                "replicas": [replica.shown() for replica in self.pool.replicas]}

    async def close(self) -> None:
        await self._client.aclose()


async def _read(answer: httpx.Response) -> bytes:
    return b"".join([piece async for piece in answer.aiter_raw()])


def _response(replica: Replica, answer: httpx.Response, body: bytes) -> Response:
    made = Response(body, answer.status_code)
    made.raw_headers = [*forwarding.headers_back(answer.headers, replica),
                        (b"content-length", str(len(body)).encode())]
    return made


async def _in_pieces(replica: Replica, answer: httpx.Response, request: Request, send) -> bool:
    """Pass pieces on as they come; whether it was whole."""
    whole, pieces = True, answer.aiter_raw()
    first = await anext(pieces, b"")  # before it, another replica can still be asked
    await send({"type": "http.response.start", "status": answer.status_code,
                "headers": forwarding.headers_back(answer.headers, replica)})
    await send({"type": "http.response.body", "body": first, "more_body": True})
    try:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except httpx.TransportError:
        whole = False
        last = forwarding.cut(request.url.path, forwarding.kind_of(answer.headers))
        await send({"type": "http.response.body", "body": last, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    return whole


# -- the application -----------------------------------------------------------------------


def create_app(gateway: Gateway) -> Starlette:
    """The ASGI application. /health, /metrics and /gateway are its own routes; all others are the replicas'."""
    @asynccontextmanager
    async def lifespan(app):
        watch = asyncio.create_task(gateway.pool.watch())
        yield
        watch.cancel()
        await gateway.close()

    async def health(request):
        well = [replica.healthy for replica in gateway.pool.own]
        status = "ok" if all(well) else "degraded" if any(well) else "down"
        return JSONResponse({"status": status}, 200 if any(well) else 503)

    async def metrics(request):
        return Response(generate_latest(gateway.registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def shown(request):
        return JSONResponse(gateway.shown())

    routes = [Route("/health", health), Route("/metrics", metrics), Route("/gateway", shown),
              Mount("/", _Forward(gateway))]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error})
    app.add_middleware(Guard, api_key=gateway.key)
    return app


class _Forward:
    """ASGI: one request, ended when its client leaves."""

    def __init__(self, gateway: Gateway):
        self.gateway = gateway

    async def __call__(self, scope, receive, send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        work = asyncio.create_task(self.gateway.answer(request, body, send))
        left = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            if not (finished := work.done()):
                work.cancel()
        await asyncio.gather(work, return_exceptions=not finished)


async def _gone(receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _http_error(request: Request, error: HTTPException) -> Response:
    return JSONResponse(body_for(request.url.path, error.status_code, "invalid_request", error.detail),
                        error.status_code)


def make_server(gateway: Gateway):
    """A uvicorn server for a gateway, as labkit.serving.app.make_server's for a model."""
    import uvicorn

    from labkit.serving.connection import Connection
    return uvicorn.Server(uvicorn.Config(create_app(gateway), log_level="warning", access_log=False, http=Connection,
                                         ws="none", loop="asyncio", timeout_keep_alive=75,
                                         timeout_graceful_shutdown=2, server_header=False))


class GatewayInBackground(Background):
    """A gateway in a thread of this process, at a free port: for lessons and tests."""

    def __init__(self, gateway: Gateway):
        self.gateway = gateway
        super().__init__(lambda: make_server(gateway), name="labkit gateway")
