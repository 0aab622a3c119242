"""Compliance modes: rules of a law, as far as a program can hold them, as configuration.

    mode = GDPR.serving({"order support": ["order", "status", "due"]})
    guard(agent, mode=mode, purpose="order support", records=Records("records.sqlite", mode), …)

A mode is not compliance. It holds four things: which fields a purpose may see, what the log holds, how long something
is kept, and whether it can be erased. Contracts, notices, consent, impact assessments, a lawful basis, training,
physical security and a person who answers for it are work that no setting does.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from labkit.errors import BadRequest
from labkit.safety.redaction import KINDS, redact


class Mode(BaseModel):
    """purposes: for each, the fields of tools' results that it needs; the others never reach the model.

    redact: kinds taken out of answers. log: "names" keeps only which tool and which arguments, "values" what they were,
    redacted. keep_days, log_days: how long records, and the log, are kept. erasure: whether a person may have theirs
    erased; if not, `why_not` says why. Reads from YAML: labkit.yaml_file.read("clinic.yaml", Mode).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    purposes: dict[str, list[str]] = Field(default_factory=dict)
    redact: list[Literal[KINDS]] = list(KINDS)
    log: Literal["names", "values"] = "values"
    keep_days: float = Field(gt=0)
    log_days: float = Field(gt=0)
    erasure: bool = True
    why_not: str = ""

    def serving(self, purposes: Mapping[str, list[str]]) -> Mode:
        """The same rules for these purposes."""
        return self.model_validate({**self.model_dump(), "purposes": {k: list(v) for k, v in purposes.items()}})

    def fields(self, purpose: str) -> list[str]:
        """What a purpose may see. Raises BadRequest for a purpose that nobody has declared."""
        if purpose not in self.purposes:
            raise BadRequest(f"{self.name} wants a declared purpose, and {purpose!r} is none. Declared: "
                             f"{', '.join(self.purposes) or 'none; use serving({purpose: [fields]})'}.")
        return self.purposes[purpose]

    def minimum(self, result: Any, purpose: str) -> Any:
        """A tool's result with the purpose's fields only. Text outside any field is redacted instead."""
        fields = self.fields(purpose)
        if isinstance(result, Mapping):
            return {key: self.minimum(value, purpose) if isinstance(value, (Mapping, list)) else value
                    for key, value in result.items() if key in fields}
        if isinstance(result, (list, tuple)):
            return [self.minimum(item, purpose) for item in result]
        return redact(result, kinds=self.redact).text if isinstance(result, str) else result

    def logged(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """What the audit log may hold of an event."""
        if self.log == "values":
            return dict(data)
        kept = {key: value for key, value in data.items() if key in ("tool", "layer", "documents", "finish_reason")}
        return {**kept, "arguments": sorted(data.get("arguments", ())), "purposes": sorted(self.purposes)}


# 45 CFR 164.502(b): the minimum necessary. 164.316(b)(2): documentation is kept for six years. 164.524 and 164.526 give
# a person a copy and an amendment, but no erasure; how long medical records are kept is the states' law.
HIPAA = Mode(name="HIPAA", log="names", keep_days=6 * 365.25, log_days=6 * 365.25, erasure=False,
             why_not="HIPAA gives a copy and an amendment, not erasure; medical records are kept as the law says")
# Article 5(1)(c): no more than the purpose needs; 5(1)(e): no longer; 15 and 20: a copy; 17: erasure. The regulation
# names no number of days: 30 is this course's choice.
GDPR = Mode(name="GDPR", log="names", keep_days=30, log_days=365)
