"""The agents' figures, small: the real model, real routers, the real framework."""
from __future__ import annotations

import json

from labkit.agents import intents
from labkit.profiling import agents


def test_everything_is_measured(slm, monkeypatch):
    few = intents.load("train")[::4]
    monkeypatch.setattr(agents.intents, "load", lambda split: few if split == "train" else intents_test)
    intents_test = [*few[:6], *(asked for asked in few if asked.intent == intents.NONE)][:12]
    for name, value in (("CASES", (10, 5)), ("UNTRAINED", 3), ("PAIRS", 3), ("HAND_OFFS", 1)):
        monkeypatch.setattr(agents, name, value)
    steps = []
    found = agents.run(lambda done, of, what: steps.append(what), slm=slm)
    assert steps == ["routers", "cascade", "framework", "hand-off", "done"]
    assert [one.name for one in found.untrained.judged] == ["keywords", "words", "vectors", "untrained"]
    assert found.cascade.curves["oracle"].apgr > 0 and len(found.added_ms) == 3
    assert found.spoke[0] in ("reception", "orders", "poems") and 0 < found.hand_off_s[0] < 60
    told = str(found)
    assert "APGR" in told and "out of scope, recalled" in told and "ms to a turn" in told
    assert json.dumps(found.to_dict())
