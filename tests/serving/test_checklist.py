"""The checklist: that of the service passes here; a line that does not hold fails with what was seen."""
from __future__ import annotations

import json
from types import SimpleNamespace

import httpx
import pytest
from typer.testing import CliRunner

from labkit.cli import app
from labkit.errors import BadRequest
from labkit.serving.checklist import lists, service_probes
from labkit.serving.checklist.report import FAIL, NOT, PASS, Checklist, DoesNotApply, Failed, Finding, Line


def test_the_service_passes_its_own_checklist():
    told = CliRunner().invoke(app, ["checklist", "service", "--json"])
    found = json.loads(told.stdout)
    assert [f for f in found["findings"] if f["status"] == FAIL] == [] and told.exit_code == 0
    assert len(found["findings"]) == len(lists.SERVICE) and all(f["evidence"] for f in found["findings"])
    assert sum(f["status"] == PASS for f in found["findings"]) >= len(lists.SERVICE) - 2  # macOS hides connections


def line(probe) -> Finding:
    return Line("area", "text", probe).run(None)


def raising(error):
    def probe(subject):
        raise error
    return probe


def test_what_a_line_can_say():
    assert line(lambda subject: "seen").status == PASS
    assert line(raising(Failed("seen"))) == Finding("area", "text", FAIL, "seen")
    assert line(raising(DoesNotApply("no GPU"))) == Finding("area", "text", NOT, "no GPU")
    assert line(raising(httpx.ConnectError("refused"))) == Finding("area", "text", FAIL, "ConnectError: refused")


def test_a_list_as_table_text_and_data():
    found = Checklist("service", (line(lambda s: "seen"), line(raising(Failed("broken")))))
    assert not found.ok and found.verdict == "1 pass, 1 fail, 0 do not apply." and found.to_dict()["ok"] is False
    assert "| area: text | FAIL | broken |" in found._repr_markdown_() and "FAIL           area: text" in str(found)


def test_the_exit_code_says_that_something_failed(monkeypatch):
    finding = Finding("area", "text", FAIL, "broken")
    monkeypatch.setattr(lists, "run", lambda name, tell, say: tell(finding) or Checklist(name, (finding,)))
    told = CliRunner().invoke(app, ["checklist"])
    assert told.exit_code == 1 and "broken" in told.output and "0 pass, 1 fail" in told.output


# -- that probes can fail: a service that is wrong in one way ---------------------------------


def answering(status: int, text: str = "", headers: dict | None = None, **routes):
    """A subject whose every answer is this one: typed in, no service."""
    answer = httpx.Response(status, text=text, headers=headers, request=httpx.Request("POST", "http://x"))
    return SimpleNamespace(ask=lambda *a, **k: answer, get=lambda *a, **k: answer, replicas=["http://x"], headers={},
                           ask_at_once=lambda n, **k: [answer] * n, **routes)


@pytest.mark.parametrize("probe, subject", [
    ("key", answering(200)), ("too_large", answering(200)), ("senseless", answering(500)),
    ("unknown_model", answering(200)), ("rate", answering(200)), ("queue", answering(200)), ("queue", answering(503)),
    ("deadline", answering(200)), ("health", answering(200, '{"status": "degraded"}')),
    ("metrics", answering(200, "labkit_requests_total 3")), ("pieces", answering(200, "data: {}")),
    ("answers", answering(200, '{"choices": [{"message": {"content": "Lyon"}}]}')),
    ("tools", answering(200, '{"choices": [{"message": {"content": "It is on its way."}}]}')),
    ("load", answering(200, '{"choices": [{"message": {"content": "Lyon"}}]}')),
])
def test_a_probe_fails_where_its_line_does_not_hold(probe, subject):
    finding = Line("area", "text", getattr(service_probes, probe)).run(subject)
    assert finding.status == FAIL and finding.evidence


def test_a_refusal_without_the_time_to_ask_again_fails():
    with pytest.raises(Failed, match="retry-after: missing"):
        service_probes.refusal(httpx.Response(429), 429, again=True)


def test_a_runtime_that_is_not_here_does_not_apply_and_says_why(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    found = lists.run("ollama")
    assert {f.status for f in found.findings} == {NOT} and "Ollama is not running at" in found.findings[0].evidence
    assert found.ok and len(found.findings) == 22


def test_every_list_has_lines_that_are_told_apart():
    for name, lines in lists.LISTS.items():
        texts = [(line.area, line.text) for line in lines]
        assert len(set(texts)) == len(texts) >= 18, name


def test_a_list_that_is_not_there():
    with pytest.raises(BadRequest, match="no checklist 'kubernetes'. There are: service, foundry-local, ollama, vllm"):
        lists.run("kubernetes")
