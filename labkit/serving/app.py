"""The web application, and running it: `labkit serve`."""
from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from labkit.agents.agent import Agent
from labkit.backends.chat import Chat
from labkit.errors import BadRequest, LabkitError
from labkit.serving import (
    agent_routes,
    figures_route,
    jobs,
    ollama_about,
    ollama_routes,
    openai_routes,
    openapi,
    token_routes,
)
from labkit.serving.failures import body_for, body_of, headers_of
from labkit.serving.generation import Service
from labkit.serving.guard import Guard, is_loopback
from labkit.serving.job_store import JobStore
from labkit.serving.jobs import Jobs
from labkit.serving.request_log import logged
from labkit.serving.sessions import Sessions
from labkit.serving.tickets import Limits
from labkit.serving.watch import Watch, watch_of_files

PORT = 8484


def create_app(chat: Chat, api_key: str | None = None, limits: Limits | None = None,
               store: JobStore | None = None, agent: Agent | None = None, watch: Watch | None = None) -> FastAPI:
    """The ASGI application that offers `chat`; with api_key, only to those who send it.

    limits: what it takes on. store: where jobs are kept, None for no jobs; they are done while make_server's server
    runs. agent: who answers at /chat, None for nobody. watch: who looks at it while that server runs; None for one
    that keeps the last hour in memory.
    """
    app = FastAPI(title="labkit", docs_url=None, redoc_url=None)
    app.openapi = lambda: openapi.document(app)
    app.state.service = service = Service(chat, limits)
    app.state.jobs = Jobs(store, service) if store else None
    app.state.agent, app.state.sessions = agent, Sessions(chat.capabilities.context_tokens)
    app.state.watch = watch = watch or Watch()
    watch.bind(service)
    app.add_middleware(Guard, api_key=api_key)
    for part in (agent_routes, figures_route, openai_routes, token_routes, ollama_routes, ollama_about, jobs):
        app.include_router(part.router)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(LabkitError, _failed)
    app.add_exception_handler(NotImplementedError, _failed)
    app.add_exception_handler(Exception, _failed)

    @app.head("/", include_in_schema=False)
    @app.get("/", response_class=PlainTextResponse)
    async def hello():
        return f"labkit serves {chat.model} at OpenAI's routes (/v1) and Ollama's (/api).\n"

    def reasons() -> list[str]:
        return service.reasons() + (app.state.jobs.reasons() if store else []) + watch.reasons()

    @app.get("/health")
    async def health():
        return {"status": "degraded" if reasons() else "ok"}  # no more: it is open to everybody

    @app.get("/health/why")
    async def why():
        return {**await health(), "reasons": reasons()}

    @app.get("/metrics")
    async def metrics():
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


async def _failed(request: Request, error: Exception) -> JSONResponse:
    status, body = body_of(request.url.path, error)
    return JSONResponse(body, status, headers_of(status, error))


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    said = (f"There is no {request.method} {request.url.path} here. Chats go to /v1/chat/completions or /api/chat."
            if error.status_code in (404, 405) else error.detail)
    codes = {404: "not_found", 405: "not_found", 408: "request_timeout", 413: "request_too_large"}
    code = codes.get(error.status_code, "invalid_request")
    return JSONResponse(body_for(request.url.path, error.status_code, code, said), error.status_code, error.headers)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises LabkitError when the port is taken or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by name: asyncio turns Nagle's algorithm off only for a socket that says it is TCP, and
    # with it on, the second packet of an answer waits 40 ms for the first one's delayed acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would share a port that is taken
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host.strip("[]"), port))
        listening.listen(128)
        return listening
    except OSError as error:
        listening.close()
        raise LabkitError(f"Nothing can listen at {host}:{port} ({error.strerror or error}). "
                          "Choose another --port, or --port 0 for a free one.") from error


def address(listening: socket.socket) -> str:
    """http://host:port of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(chat: Chat, api_key: str | None = None, limits: Limits | None = None, store: JobStore | None = None,
                agent: Agent | None = None, watch: Watch | None = None):
    """A uvicorn server for `chat`: run(sockets=[…]) serves, should_exit = True ends it."""
    import uvicorn

    from labkit.serving.connection import Connection

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            if store:
                app.state.jobs.start()
            app.state.watch.start()

        async def shutdown(self, sockets=None):
            if store:
                await app.state.jobs.close()
            app.state.service.close()  # before uvicorn waits for the answers in the making
            await super().shutdown(sockets)
            app.state.watch.close()

    app = create_app(chat, api_key, limits, store, agent, watch)
    # uvicorn drops a quiet connection after 5 s, and a client that is just about to use it meets an error.
    # The loop by name: uvicorn's "auto" takes another where some other package has brought it along.
    return Server(uvicorn.Config(app, log_level="warning", access_log=False, http=Connection, ws="none", lifespan="off",
                                 loop="asyncio",
                                 timeout_keep_alive=75, timeout_graceful_shutdown=2, server_header=False))


def serve(backend: str = "llama.cpp", model: str | None = None, host: str = "127.0.0.1", port: int = PORT,
          api_key: str | None = None, limits: Limits | None = None, jobs: str | Path | None = None,
          agent: str | Path | None = None, history: str | Path | None = None, alerts: str | Path | None = None,
          log: str | Path | None = None, say: Callable[[str], None] = print) -> None:
    """Serve a model until Ctrl-C.

    backend, model: as for `labkit.connect`. port: 0 for a free one. api_key: None for LABKIT_API_KEY;
    an address that other machines can reach needs one. limits: how much it takes on. jobs: a file to keep jobs in;
    None for none. agent: the recipe of one who answers at /chat; it says which model, and the other routes have that
    model too. history: a file for what is measured; None for the last hour in memory. alerts: a YAML file, see
    alert_rules. log: a file for a line about each request. say: is told the address.

    Raises BadRequest for an open address without a key, LabkitError for a taken port, and what connect raises.
    """
    api_key = api_key or os.environ.get("LABKIT_API_KEY") or None
    if not (api_key or is_loopback(host)):
        raise BadRequest(f"{host} can be reached from other machines: give --api-key or set LABKIT_API_KEY, "
                         "or stay with --host 127.0.0.1.")
    # 5 ms is Python's own; a request that arrives among 16 generating threads waits for several such turns.
    sys.setswitchinterval(0.001)
    watch = watch_of_files(history, alerts)
    with logged(log), listen(host, port) as listening:
        chat, worker = loaded(backend, model, agent)
        at = address(listening)
        with chat, suppress(KeyboardInterrupt):  # uvicorn has ended in good order and passes the signal on
            server = make_server(chat, api_key, limits, JobStore(jobs) if jobs else None, worker, watch)
            say(f"labkit serves {chat.model} at {at}/v1 (OpenAI) and {at} (Ollama)"
                f"{f', and an agent at {at}/chat' if worker else ''}. Ctrl-C ends it.")
            server.run(sockets=[listening])


def loaded(backend: str, model: str | None, recipe: str | Path | None) -> tuple[Chat, Agent | None]:
    """The model, and the agent of a recipe with it."""
    from labkit.agents.recipe import load
    from labkit.backends.registry import connect
    if recipe is None:
        return connect(backend, model), None
    if (backend, model) != ("llama.cpp", None):
        raise BadRequest("The agent's recipe says which model it has: leave out --backend and --model.")
    agent = load(recipe)
    return agent_routes.model_of(agent), agent
