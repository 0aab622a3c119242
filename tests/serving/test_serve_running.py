"""The server at work: many clients, clients that leave, answers that fail, starting and stopping."""
from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import httpx
import ollama
import openai
import pytest
from asking import MODEL, PARIS, STORY

import labkit as lk
from labkit.serving.app import listen
from labkit.serving.background import serve_in_background


def waited(holds, seconds: float = 10.0) -> bool:
    """Whether `holds()` comes true in time."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)
    return holds()


def busy(slm) -> int:
    """How many generations hold a slot of the engine."""
    return sum(slot.owner != 0 for slot in slm.backend.engine._slots)


def left_in_the_middle(url: str, route: str, stream: bool, slm) -> float:
    """Ask for a long answer, leave once the model is at it; seconds until its slot is free."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    body = {"model": MODEL, "messages": STORY, "stream": stream, "max_tokens": 4000, "options": {"num_predict": 4000}}
    connection.request("POST", route, json.dumps(body))
    if stream:
        assert connection.getresponse().read(20)
    assert waited(lambda: busy(slm) == 1)
    started = time.monotonic()
    connection.sock.close() if connection.sock else None
    connection.close()
    assert waited(lambda: busy(slm) == 0)
    return time.monotonic() - started


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/api/chat"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_its_answer(slm, server, route, stream):
    assert waited(lambda: busy(slm) == 0)
    assert left_in_the_middle(server.base_url, route, stream, slm) < 1.0  # 4000 tokens take half a minute
    assert httpx.get(f"{server.base_url}/v1/models").status_code == 200


def test_the_official_client_leaves_a_stream(slm, server):
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none") as client:
        stream = client.chat.completions.create(model=MODEL, messages=STORY, stream=True, max_tokens=4000)
        next(iter(stream))
        assert busy(slm) == 1
        stream.close()
        assert waited(lambda: busy(slm) == 0, 1.0)


def test_16_clients_get_the_answers_of_one(server, in_thread, slm):
    questions = [f"What is {n} plus {n}?" for n in range(16)]

    def ask(question):
        body = {"model": MODEL, "messages": [{"role": "user", "content": question}], "max_tokens": 8}
        told = httpx.post(f"{server.base_url}/v1/chat/completions", json=body, timeout=120).json()
        return told["choices"][0]["message"]["content"]
    results = [in_thread(lambda q=question: ask(q)) for question in questions]
    assert waited(lambda: busy(slm) >= 8)  # they are at it together, not one after the other
    assert len([result() for result in results]) == 16
    assert waited(lambda: busy(slm) == 0)


# -- failures ------------------------------------------------------------------------------


@pytest.mark.parametrize("error, status, code, said", [
    (lk.BackendUnavailable("it is gone"), 503, "backend_unavailable", "it is gone"),
    (lk.LabkitError("no memory"), 500, "backend_error", "no memory"),
    (ZeroDivisionError("secret inside"), 500, "internal_error", "Its log says why"),
])
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_fails_at_once(script, scripted_server, error, status, code, said, stream):
    script.enqueue(error)
    body = {"messages": PARIS, "stream": stream}
    told = httpx.post(f"{scripted_server.base_url}/v1/chat/completions", json=body)
    assert told.status_code == status and told.json()["error"]["code"] == code
    assert said in told.json()["error"]["message"] and "secret" not in told.text and "Traceback" not in told.text
    script.enqueue(error)
    told = httpx.post(f"{scripted_server.base_url}/api/chat", json={"model": "scripted", **body})
    assert told.status_code == status and said in told.json()["error"]


def test_a_model_that_fails_in_the_middle_of_a_stream(script, scripted_server, caplog):
    script.enqueue("Hel", lk.BackendUnavailable("it is gone"))
    with openai.OpenAI(base_url=f"{scripted_server.base_url}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(model="scripted", messages=PARIS, stream=True)
        assert next(stream).choices[0].delta.content == "Hel"
        with pytest.raises(openai.APIError, match="it is gone"):
            next(stream)
    script.enqueue("Hel", ZeroDivisionError("secret inside"))
    stream = ollama.Client(scripted_server.base_url).chat("scripted", PARIS, stream=True)
    assert next(stream).message.content == "Hel"
    with pytest.raises(ollama.ResponseError, match="Its log says why"):
        next(stream)
    assert "ZeroDivisionError" in caplog.text  # the log does say why


def test_what_a_backend_cannot_do_is_said(scripted_server):
    told = httpx.post(f"{scripted_server.base_url}/v1/embeddings", json={"input": "x"})
    assert told.status_code == 501 and "scripted cannot embed text" in told.json()["error"]["message"]
    told = httpx.post(f"{scripted_server.base_url}/tokenize", json={"content": "x"})
    assert told.status_code == 501 and "cannot count tokens" in told.json()["error"]["message"]
    told = httpx.post(f"{scripted_server.base_url}/tokenize", json={})
    assert told.status_code == 400 and "content or prompt" in told.json()["error"]["message"]


def test_a_model_that_is_not_constrained_and_writes_no_call(script, scripted_server):
    for _ in range(3):
        script.enqueue("I would call f.")
    body = {"messages": PARIS, "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}
    told = httpx.post(f"{scripted_server.base_url}/v1/chat/completions", json=body)
    assert told.status_code == 422 and told.json()["error"]["code"] == "incomplete_output"


# -- starting and stopping -----------------------------------------------------------------


def test_stopping_ends_answers_in_the_making_and_frees_the_port(slm):
    running = serve_in_background(slm)
    port = urlsplit(running.base_url).port
    before = threading.active_count()
    stream = ollama.Client(running.base_url).chat(MODEL, STORY, stream=True, options={"num_predict": 4000})
    next(stream)
    running.stop()
    assert waited(lambda: busy(slm) == 0, 1.0) and threading.active_count() < before + 1
    with pytest.raises(ollama.ResponseError, match="stopped in the middle of this answer"):
        list(stream)
    listen("127.0.0.1", port).close()
    running.stop()  # once more does nothing
    assert slm.chat(PARIS, max_tokens=2).text


def test_a_port_that_is_taken(slm, server):
    port = urlsplit(server.base_url).port
    with pytest.raises(lk.LabkitError, match=rf"listen at 127.0.0.1:{port} .*--port 0"):
        serve_in_background(slm, port=port)


def test_an_address_that_is_not_this_machines():
    with pytest.raises(lk.LabkitError, match=r"listen at 192\.0\.2\.1:0 "):
        listen("192.0.2.1", 0)


def test_serve_in_a_process_of_its_own_until_ctrl_c():
    code = "from labkit.serving.app import serve; serve(port=0, say=lambda text: print(text, flush=True))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "LABKIT_API_KEY": "k"})
    try:
        said = process.stdout.readline()
        url = said.split(" at ", 1)[1].split("/v1")[0]
        assert "labkit serves SmolLM2-135M-Instruct F16" in said
        with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
            stream = client.chat.completions.create(model=MODEL, messages=STORY, stream=True, max_tokens=4000)
            next(iter(stream))
            started = time.monotonic()
            process.send_signal(signal.SIGINT) if sys.platform != "win32" else process.terminate()
            process.wait(20)
        assert time.monotonic() - started < 10
        if sys.platform != "win32":
            assert process.returncode == 0 and "Traceback" not in (told := process.stderr.read()), told
    finally:
        process.kill()
        process.communicate()
