"""Technical support: diagnostics of devices, the knowledge base, incident reports."""
from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from labkit.domains.desk import Absent, Desk, irreversible, known, reads
from labkit.errors import ToolError

MOST_FOUND = 3  # articles, unless told otherwise
Severity = Literal["minor", "major", "critical"]
Check = Literal["connectivity", "disk", "memory", "battery"]


class Technical(Desk):
    name, title = "technical", "Technical support"
    names = {"target": "SELECT name FROM devices", "system": "SELECT name FROM systems"}

    @reads
    def run_diagnostics(self, target: str, check: Check | Absent = None) -> dict:
        """Runs diagnostics on a device or server, all of them or only one check.

        Args: target: Device or server to check. check: The one check to run. All checks when omitted.
        """
        device = known(target, self._names("devices"), "device")
        found = self.database.query("SELECT item, ok, detail FROM readings WHERE device = ? "
                                    "AND item = coalesce(?, item)", device, check)
        if not found:
            raise ToolError(f"{device} has nothing to check for {check}. Run all checks on it, or name another.")
        told = "; ".join(f"{row['item']} {'is fine' if row['ok'] else 'FAILED'}, {row['detail']}" for row in found)
        return {"device": device, "readings": found, "answer": f"{device}: {told}."}

    @reads
    def search_knowledge_base(self, query: str, limit: Annotated[int, Field(ge=1, le=10)] | Absent = None) -> dict:
        """Searches the internal knowledge base for articles.

        Args: query: Topic to search for. limit: Most articles to return.
        """
        words = set(re.findall(r"\w{2,}", query.casefold()))
        scored = [(sum(3 * (word in row["title"].casefold()) + (word in row["body"].casefold()) for word in words), row)
                  for row in self.database.query("SELECT * FROM articles ORDER BY id")]
        best = [row for score, row in sorted(scored, key=lambda pair: -pair[0]) if score][:limit or MOST_FOUND]
        if not best:
            raise ToolError(f"No article is about {query[:60]!r}. Try other words, or file an incident report.")
        told = " ".join(f"{row['title']}: {row['body']}" for row in best[:1])
        more = f" See also: {', '.join(row['title'] for row in best[1:])}." if best[1:] else ""
        return {"articles": best, "answer": told + more}

    @irreversible
    def create_incident_report(self, system: str, severity: Severity, summary: str) -> dict:
        """Files a report about an incident in a system.

        Args: system: The system that is affected. severity: How bad the incident is.
        summary: What happened, in a few words.
        """
        affected = known(system, self._names("systems"), "system")
        with self.database.transaction() as now:  # the same report on the same day is one incident
            now.keep("incidents", system=affected, summary=summary, severity=severity, reported_by=self.user,
                     day=self.today)
            (report,) = now.query("SELECT * FROM incidents WHERE system = ? AND summary = ? AND day = ?", affected,
                                  summary, self.today)
        person = " The engineer on call has been paged." if report["severity"] == "critical" else ""
        return {**report, "answer": f"Incident {report['id']} ({report['severity']}) in {affected}: "
                                    f"{report['summary']}.{person}"}

    def _names(self, table: Literal["devices", "systems"]) -> list[str]:
        return [row["name"] for row in self.database.query(f"SELECT name FROM {table}")]
