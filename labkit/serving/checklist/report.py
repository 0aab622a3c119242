"""A line of a checklist, what its probe found, and the whole list as a table."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from labkit.table import Shown, Table

PASS, FAIL, NOT = "pass", "FAIL", "does not apply"


class Failed(Exception):
    """What was looked for is not so; the text is the evidence."""


class DoesNotApply(Exception):
    """It cannot be looked for here; the text says why."""


@dataclass(frozen=True)
class Line:
    """probe: takes the subject, returns its evidence, raises Failed or DoesNotApply."""

    area: str
    text: str
    probe: Callable[[Any], str]

    def run(self, subject: Any) -> Finding:
        try:
            return Finding(self.area, self.text, PASS, self.probe(subject))
        except DoesNotApply as why:
            return Finding(self.area, self.text, NOT, str(why))
        except Failed as evidence:
            return Finding(self.area, self.text, FAIL, str(evidence))
        except Exception as error:  # whatever a server that is ill makes a client raise
            return Finding(self.area, self.text, FAIL, f"{type(error).__name__}: {error}".strip())


@dataclass(frozen=True)
class Finding:
    """status: "pass", "FAIL" or "does not apply"; evidence: what was seen, or why not."""

    area: str
    text: str
    status: str
    evidence: str


@dataclass(frozen=True, repr=False)
class Checklist(Shown):
    """Every line in order."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(finding.status != FAIL for finding in self.findings)

    @property
    def verdict(self) -> str:
        count = Counter(finding.status for finding in self.findings)
        return f"{count[PASS]} pass, {count[FAIL]} fail, {count[NOT]} do not apply."

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}

    def __str__(self) -> str:
        return "\n".join([*map(str_of, self.findings), "", self.verdict])

    def table(self) -> Table:
        rows = tuple((f"{f.area}: {f.text}", f.status, f.evidence) for f in self.findings)
        return Table(("line", "", "evidence"), rows, title=self.name, note=self.verdict)


def str_of(finding: Finding) -> str:
    """Two lines for a terminal."""
    return f"{finding.status:14} {finding.area}: {finding.text}\n{'':14} {finding.evidence}"
