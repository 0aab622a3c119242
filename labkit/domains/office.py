"""The office: invoices read, checked and sent to who must approve them; e-mails sorted and answered; meetings.

user: whose inbox it is.
"""
from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from labkit.domains import invoices
from labkit.domains.database import Transaction
from labkit.domains.desk import Desk, irreversible, known, reads, writes
from labkit.domains.when import a_day, a_time, minutes, not_past
from labkit.errors import ToolError

MAY_APPROVE_CENTS = {"team_lead": 100_000, "finance": 1_000_000, "director": None}  # up to; None: everything
Length = Annotated[int, Field(ge=15, le=120)]


class Office(Desk):
    name, title, default_user = "office", "Office", "Greta"
    ids = {"invoice_number": r"\bINV-\d+\b", "email_id": r"\bM-\d+\b", "file": r"\S+\.(?:pdf|txt)\b"}
    names = {"participants": "SELECT name FROM colleagues"}

    @reads
    def extract_invoice(self, file: str) -> dict:
        """Reads an invoice file and returns its number, date, sender and amounts.

        Args: file: Name of the invoice file.
        """
        read = invoices.read(file)
        return {**vars(read), "answer": str(read)}

    @reads
    def validate_invoice(self, invoice_number: str) -> dict:
        """Checks whether a recorded invoice is complete and correct.

        Args: invoice_number: Invoice number, e.g. 'INV-2041'.
        """
        recorded = self._invoice(invoice_number)
        senders = {row["name"] for row in self.database.query("SELECT name FROM suppliers")}
        wrong = invoices.faults(recorded, senders, self.today)
        told = f"is not correct: {'; '.join(wrong)}" if wrong else "is complete and correct"
        return {"number": recorded["number"], "faults": wrong, "answer": f"{recorded['number']} {told}."}

    @irreversible
    def route_for_approval(self, invoice_number: str, approver: Literal["team_lead", "finance", "director"]) -> dict:
        """Sends a recorded invoice to somebody who has to approve it.

        Args: invoice_number: Invoice number, e.g. 'INV-2041'. approver: Who has to approve it.
        """
        invoice = self._invoice(invoice_number)
        most = MAY_APPROVE_CENTS[approver]
        if most is not None and invoice["total_cents"] > most:
            raise ToolError(f"{invoice['number']} is over {invoices.money(invoice['total_cents'])}; {approver} may "
                            f"approve {invoices.money(most)} at most. Route it to somebody who may approve more.")
        with self.database.transaction() as now:
            now.keep("approvals", invoice=invoice["number"], day=self.today, approver=approver)
            (sent,) = now.query("SELECT * FROM approvals WHERE invoice = ?", invoice["number"])
        if sent["approver"] != approver:
            raise ToolError(f"{invoice['number']} is with {sent['approver']} already. Ask a colleague to take it back.")
        return {**sent, "answer": f"{invoice['number']} is with {approver} for approval."}

    @writes
    def triage_email(self, email_id: str, category: Literal["complaint", "question", "order", "spam"]) -> dict:
        """Puts an e-mail from the inbox into a category.

        Args: email_id: Number of the e-mail, e.g. 'M-1042'. category: What kind of e-mail it is.
        """
        email = self._email(email_id)
        with self.database.transaction() as now:
            now.query("UPDATE emails SET category = ? WHERE id = ?", category, email["id"])
        return {"id": email["id"], "category": category,
                "answer": f"{email['id']} ({email['subject']}) is filed as {category}."}

    @writes
    def draft_reply(self, email_id: str, points: str) -> dict:
        """Writes the draft of a reply to an e-mail from the inbox. Nothing is sent.

        Args: email_id: Number of the e-mail, e.g. 'M-1042'. points: What the reply should say.
        """
        email, said = self._email(email_id), points.strip().rstrip(".")
        body = (f"Dear {email['sender'].split('@')[0].split('.')[0].title()},\n\nthank you for your message. "
                f"{said[:1].upper()}{said[1:]}.\n\nKind regards\n{self.user}")
        with self.database.transaction() as now:
            now.keep("replies", email_id=email["id"], points=points, body=body)
        return {"email_id": email["id"], "body": body, "answer": f"Draft to {email['sender']}, not sent:\n{body}"}

    @writes
    def schedule_meeting(self, title: str, participants: list[str], date: str, time: str, minutes: Length = 30) -> dict:
        """Puts a meeting with colleagues into the calendar.

        Args: title: Title of the meeting. participants: First names of those who take part.
        date: Day of the meeting, YYYY-MM-DD. time: Start, HH:MM in 24-hour format. minutes: Length in minutes.
        """
        day, at = not_past(a_day(date), self.today), a_time(time)
        colleagues = [row["name"] for row in self.database.query("SELECT name FROM colleagues")]
        people = sorted({known(name, colleagues, "colleague") for name in participants})
        with self.database.transaction() as now:
            there = now.query("SELECT id FROM meetings WHERE title = ? AND day = ? AND time = ?", title, day, at)
            if not there:  # a second request for the same meeting finds it
                _none_is_busy(now, people, day, at, minutes)
                _put_in(now, title, people, day, at, minutes)
        return {"title": title, "people": people, "day": day, "time": at,
                "answer": f"{title} on {day} at {at}, {minutes} minutes, with {', '.join(people)}."}

    def _invoice(self, number: str) -> dict:
        return self.one("SELECT * FROM invoices WHERE number = upper(?)", (number,),
                        f"No invoice {number[:40]} is recorded. Its number stands on it, like INV-2041.")

    def _email(self, id: str) -> dict:
        email = self.one("SELECT * FROM emails WHERE id = upper(?)", (id,),
                         f"There is no e-mail {id[:40]}. The number is in the inbox, like M-1042.")
        if email["owner"] != self.user:
            raise ToolError(f"{email['id']} is not in your inbox. Ask whoever got it.")
        return email


def _none_is_busy(now: Transaction, people: list[str], day: str, at: str, length: int) -> None:
    marks = ", ".join("?" * len(people))
    start = minutes(at)
    for row in now.query(f"SELECT colleague, title, time, minutes FROM attendance JOIN meetings ON id = meeting "
                         f"WHERE day = ? AND colleague IN ({marks})", day, *people):
        begins = minutes(row["time"])
        if begins < start + length and start < begins + row["minutes"]:
            raise ToolError(f"{row['colleague']} is busy: {row['title']} at {row['time']}. Choose another time.")


def _put_in(now: Transaction, title: str, people: list[str], day: str, at: str, length: int) -> None:
    (meeting,) = now.query("INSERT INTO meetings (title, day, time, minutes) VALUES (?, ?, ?, ?) RETURNING id", title,
                           day, at, length)
    for name in people:
        now.query("INSERT INTO attendance VALUES (?, ?)", meeting["id"], name)
