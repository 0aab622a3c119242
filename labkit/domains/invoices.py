"""Invoice files, text or PDF: read what they say, and what is wrong with a recorded one."""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labkit.data import data_folder
from labkit.domains.desk import known
from labkit.errors import LabkitError, ToolError

TAX = 0.2


@dataclass(frozen=True)
class Invoice:
    """What stands on an invoice; amounts in cents."""

    number: str
    sender: str
    issued: str
    net_cents: int
    tax_cents: int
    total_cents: int

    def __str__(self) -> str:
        return (f"{self.number} of {self.issued} from {self.sender}: {money(self.net_cents)} and "
                f"{money(self.tax_cents)} tax, {money(self.total_cents)} in all.")


def money(cents: int) -> str:
    return f"€{cents / 100:,.2f}"


def read(file: str) -> Invoice:
    """The invoice in a file of data/desks/invoices. Raises ToolError for no such file, or one that is no invoice."""
    folder = data_folder("desks") / "invoices"
    path = folder / known(file, (each.name for each in folder.iterdir()), "file")  # a name from the folder: no path
    text = _pdf_text(path) if path.suffix == ".pdf" else path.read_text(encoding="utf-8")
    try:
        return Invoice(_field(text, r"Invoice +(INV-\d+)"), _field(text, r"From: *(.+)"),
                       _field(text, r"Date: *(\d{4}-\d\d-\d\d)"),
                       *(_cents(_field(text, rf"{name}: *EUR +([\d,.]+)")) for name in ("Net", "Tax", "Total")))
    except LookupError as error:
        raise ToolError(f"{path.name} is no readable invoice: {error}. Ask its sender for a better copy.") from error


def _pdf_text(path) -> str:
    try:
        from pypdf import PdfReader
    except ImportError as error:
        raise LabkitError("Reading a PDF needs pypdf: pip install pypdf") from error
    return "\n".join(page.extract_text() for page in PdfReader(path).pages)


def _field(text: str, pattern: str) -> str:
    if not (found := re.search(pattern, text)):
        raise LookupError(f"it has no {pattern.split(':')[0].split(' ')[0]}")
    return found.group(1).strip()


def _cents(amount: str) -> int:
    return round(100 * float(amount.replace(",", "")))


def faults(recorded: Mapping[str, Any], senders: set[str], today: str) -> list[str]:
    """What is wrong with a recorded invoice, a phrase each; none when it is in order."""
    net, tax, total = (recorded[f"{name}_cents"] for name in ("net", "tax", "total"))
    wrong = []
    if net + tax != total:
        wrong.append(f"net and tax make {money(net + tax)}, not {money(total)}")
    if abs(tax - TAX * net) > 1:
        wrong.append(f"the tax is not {TAX:.0%} of the net amount")
    if recorded["issued"] > today:
        wrong.append(f"its date, {recorded['issued']}, has not come yet")
    if recorded["sender"] not in senders:
        wrong.append(f"{recorded['sender']} is no supplier of ours")
    return wrong
