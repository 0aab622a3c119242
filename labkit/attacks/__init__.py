"""Attacks on the desks, measured: what is asked of the agent, where it stands, and what came of it.

    from labkit import attacks
    attacks.run(desks=["support"])          # the table that `labkit attack support` prints
    with attacks.Stage("support", lk.connect()) as stage:
        stage.attack(attacks.attempts(["support"])[0], "approval")

Wordings are AgentDojo's, goals are adapted from its injection tasks (data/attacks/README.md).
"""
from __future__ import annotations

from labkit.lazy import lazy_names

_HOME = {
    "run": "measure", "Report": "measure", "suspicion": "measure", "adapt": "measure", "Adapted": "measure",
    "Stage": "stage", "Outcome": "stage",
    "attempts": "cases", "Attempt": "cases", "Goal": "cases", "WayIn": "cases", "of": "cases", "PLACES": "cases",
    "DEFENCES": "defences", "attentive": "defences", "clerk": "defences",
    "disguise": "disguises", "DISGUISES": "disguises",
    "wording": "wordings",
    "variants": "adaptive", "search": "adaptive",
}
__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names("labkit.attacks", _HOME)
