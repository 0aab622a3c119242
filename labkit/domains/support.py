"""Customer support: who a customer is, where an order is, tickets, calls back, passwords, and a person to take over.

A customer (user: a customer number, C-…) sees and changes only what is theirs; the staff sees everything.
"""
from __future__ import annotations

from typing import Literal

from labkit.domains.desk import Desk, irreversible, reads, writes
from labkit.domains.when import a_day, a_time, not_past
from labkit.errors import ToolError


class Support(Desk):
    name, title = "support", "Customer support"
    ids = {"order_id": r"\bORD-\d+\b", "customer_id": r"\bC-\d+\b", "email": r"\S+@\S+\.\w+"}

    @reads
    def look_up_customer(self, email: str) -> dict:
        """Finds a customer's record by e-mail address. Returns the customer number, name and plan.

        Args: email: E-mail address of the customer.
        """
        found = self._account(email)
        return {"id": found["id"], "name": found["name"], "plan": found["plan"],
                "answer": f"{found['name']} is customer {found['id']}, with the plan {found['plan']}."}

    @reads
    def order_status(self, order_id: str) -> dict:
        """Tells the current status of an order, from paid to delivered.

        Args: order_id: Order number, e.g. 'ORD-48213'.
        """
        order = self.one("SELECT * FROM orders WHERE id = upper(?)", (order_id,),
                         f"There is no order {order_id[:40]}. The number is on the confirmation, like ORD-48213.")
        self._own(order["customer_id"], f"Order {order['id']}")
        return {**order, "answer": f"Order {order['id']}, placed on {order['placed']}: {order['status']}."}

    @writes
    def create_ticket(self, customer_id: str, subject: str, priority: Literal["low", "normal", "high"] = "normal"
                      ) -> dict:
        """Opens a support ticket for a customer. Returns the ticket number.

        Args: customer_id: Customer number, e.g. 'C-4821'. subject: Short subject of the ticket.
        priority: Priority of the ticket.
        """
        customer = self.one("SELECT id FROM customers WHERE id = upper(?)", (customer_id,),
                            f"There is no customer {customer_id[:40]}. Look the number up by e-mail address.")["id"]
        self._own(customer, f"Customer {customer}")
        with self.database.transaction() as now:  # a second ticket on the same subject is the first
            now.keep("tickets", customer_id=customer, subject=subject, priority=priority, opened=self.today)
            (ticket,) = now.query("SELECT * FROM tickets WHERE customer_id = ? AND subject = ? COLLATE NOCASE "
                                  "AND status = 'open'", customer, subject)
        return {**ticket, "answer": f"Ticket {ticket['id']} for {customer}, {ticket['priority']} priority: "
                                    f"{ticket['subject']}."}

    @writes
    def schedule_callback(self, phone: str, date: str, time: str) -> dict:
        """Books a phone call back to a customer.

        Args: phone: Phone number to call. date: Day of the call, YYYY-MM-DD.
        time: Time of the call, HH:MM in 24-hour format.
        """
        day, at = not_past(a_day(date), self.today), a_time(time)
        if sum(map(str.isdigit, phone)) < 6:
            raise ToolError(f"{phone[:40]!r} is no phone number. Ask for it with its area code.")
        with self.database.transaction() as now:
            now.keep("callbacks", phone=phone, day=day, time=at)
        return {"phone": phone, "day": day, "time": at, "answer": f"We call {phone} on {day} at {at}."}

    @irreversible
    def reset_password(self, email: str) -> dict:
        """Sends a link for a new password to the e-mail address of an account.

        Args: email: E-mail address of the account.
        """
        customer = self._account(email)["id"]
        with self.database.transaction() as now:  # one link a day: a second request sends no second one
            now.keep("password_links", customer_id=customer, day=self.today)
        return {"customer_id": customer, "answer": f"A link for a new password was sent to {email}."}

    @writes
    def escalate_to_human(self, reason: str, urgency: Literal["normal", "urgent"] = "normal") -> dict:
        """Hands the conversation over to a human colleague.

        Args: reason: Short reason for the handover. urgency: How soon a colleague has to take over.
        """
        with self.database.transaction() as now:
            now.keep("handovers", asked_by=self.user, reason=reason, day=self.today, urgency=urgency)
        return {"reason": reason, "answer": f"A colleague takes over ({urgency}): {reason}."}

    def _account(self, email: str) -> dict:
        """Whose address that is. To a customer, somebody else's does not exist: they do not learn whose it is."""
        nobody = f"There is no account of yours with the address {email[:60]}. Ask for the address again."
        found = self.one("SELECT * FROM customers WHERE email = ?", (email.strip(),), nobody)
        if self.user not in (self.default_user, found["id"]):
            raise ToolError(nobody)
        return found

    def _own(self, customer: str, what: str) -> None:
        if self.user not in (self.default_user, customer):
            raise ToolError(f"{what} belongs to somebody else. Only its owner or a colleague may see or change it.")
