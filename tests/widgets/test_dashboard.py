"""The dashboard, without a browser: from a service, from a file, with gaps, and when nothing answers."""
from __future__ import annotations

import httpx
import pytest

from labkit.serving.alert_rules import Entry
from labkit.serving.background import serve_in_background
from labkit.serving.history import History
from labkit.serving.watch import Watch
from labkit.widgets import Dashboard
from labkit.widgets.dashboard import PANELS, _round_above, _unbroken


@pytest.fixture
def served(scripted, tmp_path):
    """(server, its watch); a key is asked for."""
    watch = Watch(History(tmp_path / "h.sqlite"), [Entry(name="memory <b>", figure="rss_bytes", above=1)], every_s=3600)
    with serve_in_background(scripted("One ", "two."), api_key="secret", watch=watch) as server:
        yield server, watch


def ask(server):
    return httpx.post(f"{server.base_url}/v1/chat/completions", headers={"authorization": "Bearer secret"}, timeout=30,
                      json={"messages": [{"role": "user", "content": "Hello"}]})


def test_a_running_service(served):
    server, watch = served
    dash = Dashboard(server, api_key="secret", start=False)
    assert "nothing measured yet" in dash.text() and "Requests: none" in dash.html()
    ask(server)
    watch.look()
    watch.look()
    dash.refresh()
    for form in (dash.text(), dash.html()):
        assert "1 ok" in form and "Memory (RSS)" in form and "tokens/s" in form and "memory" in form
    assert all(f'aria-label="{title}: now ' in dash.html() for _, title, *_ in PANELS)
    assert "memory <b>" not in dash.html() and "On: memory &lt;b&gt;" in dash.html()
    assert "Alert on: memory <b>" in dash.text() and "s ago: memory <b> began: rss_bytes is" in dash.text()


def test_the_file_without_the_service_and_what_is_not_measured(served, tmp_path):
    server, watch = served
    watch.look()
    dash = Dashboard(tmp_path / "h.sqlite", start=False)
    assert "no request has ended" in dash.html() and "%" in dash.text()
    assert "end</span>" in dash.html() and ">now<" not in dash.html()
    bundle = dash._repr_mimebundle_()
    assert bundle["text/plain"] == dash.text() and "<svg" in bundle["text/html"]


def test_it_looks_by_itself_until_it_is_stopped(served, until):
    server, watch = served
    with Dashboard(server.base_url, api_key="secret", every_s=0.02) as dash:
        assert dash.start_button.disabled
        ask(server)
        watch.look()
        until(lambda: dash.found["count"] == 1)
    assert dash.stop_button.disabled
    ask(server)
    watch.look()
    assert dash.found["count"] == 1
    dash.start_button.click()
    until(lambda: dash.found["count"] == 2)
    dash.close()
    assert not dash._watching


def test_what_does_not_answer_is_told_and_what_was_seen_stays(served, tmp_path):
    server, watch = served
    assert "answers 401" in Dashboard(server, start=False).text()
    dash = Dashboard(server, api_key="secret", start=False)
    ask(server)
    watch.look()
    dash.refresh()
    server.stop()
    assert "Nothing answers" in dash.refresh().text() and "1 ok" in dash.text() and "Nothing answers" in dash.html()
    assert "cannot be read" in Dashboard(tmp_path / "absent", start=False).html()


def test_a_gap_is_drawn_as_a_gap():
    line = [(60.0, 1.0), (50.0, 2.0), (40.0, 1.0), (10.0, 5.0), (0.0, 6.0)]
    assert [len(part) for part in _unbroken(line)] == [3, 2] and _unbroken(line[:1]) == [line[:1]]
    assert _unbroken([]) == []


@pytest.mark.parametrize("value, top", [(0, 1), (0.31, 0.4), (1, 1), (1.01, 1.5), (631, 800), (49, 50)])
def test_scales_end_in_round_numbers(value, top):
    assert _round_above(value) == pytest.approx(top)
