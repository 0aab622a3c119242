"""POST /chat: an agent on the service's queue, its sessions apart by client, its failures said."""
from __future__ import annotations

import json
import subprocess
import sys
import threading

import httpx
import pytest
from test_limits import until

import labkit as lk
from labkit.agents import recipe
from labkit.agents.recipe import Recipe
from labkit.backends.base import Backend, Capabilities, Chunk
from labkit.backends.reply import Usage
from labkit.serving import sessions
from labkit.serving.background import serve_in_background
from labkit.serving.sessions import Sessions
from labkit.serving.tickets import Limits


@lk.tool
def order_status(order_id: str) -> dict:
    """Status of an order. Args: order_id: like A-1042."""
    if not order_id.startswith("A-"):
        raise KeyError(f"there is no order {order_id}")
    return {"order": order_id, "status": "shipped"}


class Memory(Backend):
    """Says how many users' messages the conversation has, and repeats the last one; a gate holds "wait" back."""

    name = model = "memory"
    capabilities = Capabilities()

    def __init__(self):
        self.gate, self.asked = threading.Event(), []

    def generate(self, request):
        said = [message["content"] for message in request.messages if message["role"] == "user"]
        self.asked.append(said)
        while "wait" in said[-1] and not self.gate.wait(0.01):
            yield Chunk("… ")
        yield Chunk(f"{len(said)}: {said[-1]}", finish_reason="stop", usage=Usage(1, 1))


@pytest.fixture
def memory():
    backend = Memory()
    yield backend
    backend.gate.set()


@pytest.fixture
def served(memory):
    """served(limits) -> (ask, server): ask(message, …) posts it to /chat of an agent that has no tools."""
    running = []

    def start(limits: Limits | None = None, key: str | None = None):
        slm = lk.Chat(memory)
        running.append(serve_in_background(slm, key, limits=limits, agent=lk.Agent(slm)))
        url = f"{running[-1].base_url}/chat"
        return lambda message, headers=None, **fields: httpx.post(
            url, json={"message": message, **fields}, headers=headers, timeout=30), running[-1]
    yield start
    memory.gate.set()
    for server in running:
        server.stop()


def test_the_real_model_calls_a_tool_and_goes_on_with_the_session(slm):
    agent = lk.Agent(slm, tools=[order_status], max_tokens=40)
    with serve_in_background(slm, agent=agent) as server, httpx.Client(base_url=server.base_url, timeout=60) as client:
        told = client.post("/chat", json={"message": "Where is my order A-1042?"})
        first = told.json()
        assert told.status_code == 200 and told.headers["x-request-id"]
        assert first["text"] and first["finish_reason"] in ("stop", "length")
        (step,) = first["steps"]
        assert (step["tool"], step["arguments"]) == ("order_status", {"order_id": "A-1042"})
        assert step["result"] == {"order": "A-1042", "status": "shipped"} and step["error"] is None
        assert first["usage"]["total_tokens"] > first["usage"]["completion_tokens"] > 0
        again = client.post("/chat", json={"message": "Where is my order A-7?", "session": first["session"]}).json()
        assert again["steps"][0]["arguments"] == {"order_id": "A-7"} and again["session"] == first["session"]
        assert 'labkit_requests_total{outcome="ok"} 2.0' in client.get("/metrics").text


def test_steps_come_as_they_happen_and_the_answer_at_the_end(trusted_script, calls):
    calls("order_status", "A-1042")
    trusted_script.enqueue("It is shipped.").enqueue("Yes.")
    slm = lk.Chat(trusted_script)
    with serve_in_background(slm, agent=lk.Agent(slm, tools=[order_status])) as server:
        def events(message):
            body = {"message": message, "session": "s", "stream": True}
            told = httpx.post(f"{server.base_url}/chat", json=body)
            *lines, done = told.text.strip().split("\n\n")
            assert told.headers["content-type"].startswith("text/event-stream") and done == "data: [DONE]"
            return [json.loads(line.removeprefix("data: ")) for line in lines]
        call, result, answer = events("Order A-1042?")
        assert call == {"type": "call", "tool": "order_status", "arguments": {"order_id": "A-1042"}}
        assert result["type"] == "result" and json.loads(result["content"])["status"] == "shipped"
        assert (answer["type"], answer["text"], answer["session"]) == ("answer", "It is shipped.", "s")
        assert trusted_script.requests[-1].messages[0]["content"] == "Order A-1042?"
        trusted_script.answers.appendleft((('"none"',), "stop"))
        assert [event["type"] for event in events("Really?")] == ["answer"]


def test_a_stream_that_is_left_or_refused_lets_its_session_go(served, memory):
    ask, server = served()
    with httpx.stream("POST", f"{server.base_url}/chat", json={"message": "hi", "session": "s", "stream": True}) as one:
        assert one.read().endswith(b"[DONE]\n\n")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.base_url}/chat", json={"message": "wait", "session": "s", "stream": True}, timeout=0.3)
    until(lambda: ask("hello", session="s").status_code == 200)
    late = ask("wait", {"X-Deadline-S": "0.1"}, session="s", stream=True)
    assert late.status_code == 504 and ask("hello", session="s").json()["text"].startswith("3: ")


def test_a_session_remembers_and_is_its_clients_alone(served):
    ask, _ = served()
    said = [ask("hello", session="s", user="ann").json()["text"] for _ in range(3)]
    assert said == ["1: hello", "2: hello", "3: hello"]
    assert ask("hello", session="s", user="bob").json()["text"] == "1: hello"
    assert ask("hello", user="ann").json()["text"] == "1: hello", "no session named: a new one"
    assert ask("hello", session="s", user="ann").json()["text"] == "4: hello"


def test_two_requests_in_one_session_do_not_mix(served, memory, in_thread):
    ask, server = served()
    first = in_thread(lambda: ask("wait", session="s"))
    until(lambda: memory.asked)
    second = ask("hello", session="s")
    assert second.status_code == 409 and second.json()["error"]["code"] == "session_busy"
    assert ask("hello", session="other").status_code == 200
    memory.gate.set()
    assert first().json()["text"].endswith("1: wait")
    assert ask("hello", session="s").json()["text"] == "2: hello", "what was refused left nothing behind"


def test_each_of_many_clients_gets_its_own_answer(served, memory, in_thread):
    ask, _ = served(Limits(at_once=4))
    results = [in_thread(lambda n=n: [ask(f"marker {n}.{i}", session="s", user=f"client {n}").json()["text"]
                                      for i in range(5)]) for n in range(12)]
    for n, result in enumerate(results):
        assert result() == [f"{i + 1}: marker {n}.{i}" for i in range(5)]


def test_the_deadline_and_a_full_queue_are_as_for_a_plain_answer(served, memory, in_thread):
    ask, server = served(Limits(at_once=1, waiting=0))
    late = ask("wait", {"X-Deadline-S": "0.2"}, session="s")
    assert late.status_code == 504 and late.json()["error"]["code"] == "deadline_exceeded"
    first = in_thread(lambda: ask("wait"))
    until(lambda: len(memory.asked) == 2)
    full = ask("hello")
    assert full.status_code == 503 and int(full.headers["retry-after"]) >= 1
    memory.gate.set()
    assert first().status_code == 200
    assert ask("hello", session="s").json()["text"] == "1: hello", "an answer that never came is not remembered"


def test_a_client_that_leaves_ends_the_work(served, memory):
    ask, server = served()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.base_url}/chat", json={"message": "wait", "session": "s"}, timeout=0.3)
    admission = server._server.config.app.state.service.admission
    until(lambda: admission.serving == 0)
    assert ask("hello", session="s").json()["text"] == "1: hello"


@pytest.mark.parametrize(("body", "words"), [
    ({}, "message"), ({"message": ""}, "message"), ({"message": "a", "session": "../x"}, "session"),
    ({"message": "a", "sesion": "x"}, "sesion"), ({"message": ["a"]}, "message"),
])
def test_what_makes_no_sense_is_refused(served, body, words):
    _, server = served()
    refused = httpx.post(f"{server.base_url}/chat", json=body)
    assert refused.status_code == 400 and words in refused.json()["error"]["message"]


@pytest.fixture
def calls(trusted_script):
    """calls(tool, order) makes a scripted model choose a tool and call it."""
    def enqueue(tool, order):
        trusted_script.enqueue(json.dumps(tool)).enqueue(json.dumps({"name": tool, "arguments": {"order_id": order}}))
    return enqueue


def test_a_tool_that_keeps_failing_is_said(trusted_script, calls):
    slm = lk.Chat(trusted_script)
    agent = lk.Agent(slm, tools=[order_status])
    calls("order_status", "B-1")
    calls("order_status", "B-1")
    with serve_in_background(slm, agent=agent) as server:
        failed = httpx.post(f"{server.base_url}/chat", json={"message": "Order B-1?"})
    assert failed.status_code == 422, failed.text
    assert failed.json()["error"]["code"] == "tool_failed" and "no order B-1" in failed.json()["error"]["message"]


def test_results_that_json_cannot_say_are_told_as_text(trusted_script, calls):
    @lk.tool
    def odd(order_id: str) -> object:
        """Something odd. Args: order_id: like A-1042."""
        return [float("nan"), "\ud800", {1, 2}]
    slm = lk.Chat(trusted_script)
    calls("odd", "A-1042")
    trusted_script.enqueue("Odd.")
    with serve_in_background(slm, agent=lk.Agent(slm, tools=[odd])) as server:
        told = httpx.post(f"{server.base_url}/chat", json={"message": "Order A-1042?"})
    assert told.status_code == 200 and "nan" in told.json()["steps"][0]["result"], told.text


def test_without_an_agent_there_is_no_chat(scripted_server):
    told = httpx.post(f"{scripted_server.base_url}/chat", json={"message": "Hello"})
    assert told.status_code == 404 and "--agent" in told.json()["error"]["message"]


def test_sessions_are_bounded_in_number_and_length(monkeypatch):
    monkeypatch.setattr(sessions, "MOST", 4)
    kept = Sessions()

    def say(client, name, text="x"):
        with kept.held(client, name) as session:
            session.add([{"role": "user", "content": text}])
            return len(session.turns)
    assert say("quiet", "s") == 1
    for n in range(50):
        say("flood", f"s{n}")
    assert len(kept) == 4 and say("quiet", "s") == 2, "a flood drives out its own"
    assert say("flood", "s49") == 2 and say("flood", "s0") == 1
    assert [say("quiet", "s") for _ in range(30)][-1] == sessions.TURNS
    assert say("quiet", "s", "x" * sessions.CHARACTERS) == 0
    assert Sessions(1000)._characters == 1500


def test_the_command_serves_a_recipe_in_a_process_of_its_own(tmp_path):
    made, _ = recipe.write(Recipe(name="desk", tools=["order_status"]), [order_status], tmp_path)
    log = tmp_path / "requests.log"
    with subprocess.Popen([sys.executable, "-m", "labkit", "serve", "--port", "0", "--agent", str(made), "--log",
                           str(log)], stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        try:
            said = child.stdout.readline()
            url = said.split("an agent at ", 1)[1].split(". Ctrl")[0]
            told = httpx.post(url, json={"message": "Where is my order A-1042?"}, timeout=60).json()
            assert told["steps"][0]["result"] == {"order": "A-1042", "status": "shipped"} and told["text"], told
            (line,) = log.read_text(encoding="utf-8").splitlines()
            assert json.loads(line)["outcome"] == "ok" and "1042" not in line
        finally:
            child.terminate()
