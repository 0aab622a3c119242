"""The page and the JSON: the same figures, nothing that runs, whole files."""
from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from labkit import report
from labkit.report.card import Card


class Words(HTMLParser):
    """What a reader sees, and what a page would load."""

    def __init__(self, text: str):
        super().__init__()
        self.words, self.tags, self.loads, self._hidden = [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href", "xlink:href") and
                       not value.startswith(("#", "data:"))]
        self._hidden += tag in ("style", "svg")

    def handle_endtag(self, tag):
        self._hidden -= tag in ("style", "svg")

    def handle_data(self, data):
        if not self._hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_page_and_json_say_the_same(found, tmp_path):
    card = Card(found)
    grade = report.grade(found)
    page, data = report.write(card, tmp_path / "new" / "cups.html", grade)
    told = json.loads(data.read_text(encoding="utf-8"))
    assert told == {**json.loads(json.dumps(found)), "rubric": grade.to_dict()}
    text = Words(page.read_text(encoding="utf-8")).text
    done, cost = told["completion"], told["cost"]
    for figure in (f"{done['right']} of {done['n']} requests", f"no longer than {told['latency']['p95_s']:.2f} s",
                   f"{told['memory']['peak_mb']:.0f} MB", f"{cost['cloud'][0]['cost']:.2g}",
                   f"{told['crash']['back_s']:.2g} s", f"{grade.points} of {grade.of} points",
                   f"{told['safety']['succeeded']} of {told['safety']['attacks']} attacks"):
        assert figure in text, figure
    assert [path.name for path in (tmp_path / "new").iterdir() if path.suffix == ".part"] == []


def test_the_page_needs_nothing_and_runs_nothing(found):
    seen = Words(report.html(Card(found)))
    assert "script" not in seen.tags and seen.loads == []
    assert seen.tags.count("svg") == 4 == seen.tags.count("figure")


def test_what_people_wrote_stays_text(found):
    nasty = '<script>alert(1)</script><img src=x onerror=alert(1)> $x$ {{ 7 * 7 }}'
    changed = json.loads(json.dumps(found))
    changed["agent"]["title"] = nasty
    changed["completion"]["failures"] = [{"request": nasty, "why": nasty, "called": [], "answer": ""}]
    changed["completion"]["kinds"] = {nasty: changed["completion"]["kinds"]["a call"]}
    changed["crash"]["told"] = nasty
    seen = Words(report.html(Card(changed)))
    assert "script" not in seen.tags and "img" not in seen.tags and seen.loads == [] and "{{ 7 * 7 }}" in seen.text


def test_each_picture_has_its_words(found):
    drawn = report.pictures(found)
    assert set(drawn) == {"completion", "latency", "cost", "network"}
    assert all(picture.alt.endswith(".") and "#0" not in picture.svg for picture in drawn.values())
    assert f"{found['latency']['p95_s']:.2f} s" in drawn["latency"].alt
