"""A new version on trial: which request it gets, and when it is promoted or rolled back. Knows no HTTP.

Every decision quotes the figures it rests on.
"""
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from labkit.intervals import p95, share_interval
from labkit.serving.deployment import Canary

STABLE, CANARY = "stable", "canary"
TRIAL, PROMOTED, ROLLED_BACK = "on trial", "promoted", "rolled back"


@dataclass
class Seen:
    """What a version has done: its requests, those that failed, and the seconds of the others."""

    requests: int = 0
    failed: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, ok: bool, seconds: float) -> None:
        self.requests += 1
        if ok:
            self.seconds.append(seconds)
        else:
            self.failed += 1

    @property
    def error_rate(self) -> float:
        return self.failed / self.requests if self.requests else 0.0

    def __str__(self) -> str:
        if not self.requests:
            return "no request yet"
        _, low, high = share_interval(self.failed, self.requests)
        time = f", 95 % took up to {p95(self.seconds):.3g} s" if self.seconds else ""
        return (f"{self.failed} of {self.requests} failed ({self.error_rate:.1%}, 95 % interval {low:.1%} to "
                f"{high:.1%}){time}")


class Rollout:
    """rules: of the trial, see Canary; None where there is no new version. `decision`: what was decided, in words."""

    def __init__(self, rules: Canary | None = None):
        self.rules, self.state, self.decision = rules, TRIAL if rules else "", ""
        self.seen = {STABLE: Seen(), CANARY: Seen()}
        self._asked = 0

    def choose(self, session: str | None = None) -> str:
        """The version for the next request. A session stays with one; else it goes by count: 10 % is every tenth."""
        if self.state != TRIAL:
            return CANARY if self.state == PROMOTED else STABLE
        if session is not None:
            place = int.from_bytes(hashlib.sha256(session.encode()).digest()[:4]) / 2**32
            return CANARY if place < self.rules.share / 100 else STABLE
        self._asked += 1
        share = self.rules.share / 100
        return CANARY if int(self._asked * share) > int((self._asked - 1) * share) else STABLE

    def usable(self) -> Sequence[str]:
        """The versions that may answer: one that was rolled back may not, even when all others are gone."""
        return (STABLE,) if self.state in ("", ROLLED_BACK) else (STABLE, CANARY)

    def record(self, version: str, ok: bool, seconds: float) -> bool:
        """Note how a request to a version ended; whether that decided the trial."""
        if self.state != TRIAL or version not in self.seen:
            return False
        self.seen[version].add(ok, seconds)
        if min(seen.requests for seen in self.seen.values()) < self.rules.at_least:
            return False
        why = self._worse()
        self.state = ROLLED_BACK if why else PROMOTED
        self.decision = (f"The new version is {self.state}{f': {why}' if why else ''}. New: {self.seen[CANARY]}. "
                         f"Old: {self.seen[STABLE]}. Allowed: {self.rules.error_rate:.1%} more failures, "
                         f"{self.rules.p95_ratio:g} times the time.")
        return True

    def _worse(self) -> str:
        new, old = self.seen[CANARY], self.seen[STABLE]
        if new.error_rate > old.error_rate + self.rules.error_rate:
            return "it fails too often"
        if new.seconds and old.seconds and p95(new.seconds) > self.rules.p95_ratio * p95(old.seconds):
            return "it is too slow"
        return ""

    def __str__(self) -> str:
        if not self.rules:
            return ""
        return self.decision or (f"On trial with {self.rules.share:g} % of the requests, decided after "
                                 f"{self.rules.at_least}. New: {self.seen[CANARY]}. Old: {self.seen[STABLE]}.")
