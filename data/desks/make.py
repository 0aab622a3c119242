"""The desks' data: `python data/desks/make.py` writes rows.json and invoices/, the same on every machine.

People, firms, numbers and prices are made up from the lists in words.yaml; labkit.domains fills databases with the
rows. With `--scenarios` also scenarios/, from wordings/ (see scenarios.py). Needs fpdf2 for the PDFs.
"""
from __future__ import annotations

import datetime
import json
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SEED = 2026
TODAY = datetime.date(2026, 3, 2)  # of every desk: a run is the same on every day
WORDS: dict[str, Any] = yaml.safe_load((HERE / "words.yaml").read_text(encoding="utf-8"))
OWNER, OTHER = "Mira", "Jonas"
Rows = dict[str, list[list[Any]]]


def day(offset: int) -> str:
    return (TODAY + datetime.timedelta(days=offset)).isoformat()


def workdays(first: int, n: int) -> list[str]:
    days = (TODAY + datetime.timedelta(days=first + i) for i in range(2 * n + 4))
    return [each.isoformat() for each in days if each.weekday() < 5][:n]


def people(rng: random.Random, n: int) -> list[str]:
    pairs = list(product(WORDS["first_names"], WORDS["last_names"]))
    return [" ".join(pair) for pair in rng.sample(pairs, n)]


def address(rng: random.Random, name: str) -> str:
    return f"{name.lower().replace(' ', '.')}@{rng.choice(WORDS['mail_hosts'])}"


def numbers(rng: random.Random, prefix: str, digits: int, n: int) -> list[str]:
    return sorted(f"{prefix}{i}" for i in rng.sample(range(10 ** (digits - 1), 10**digits), n))


def support(rng: random.Random) -> Rows:
    customers = [[id, name, address(rng, name),
                  f"+{rng.randint(20, 98)} {rng.randint(100, 999)} {rng.randint(100000, 999999)}",
                  rng.choice(("basic", "plus", "business"))]
                 for id, name in zip(numbers(rng, "C-", 4, 60), people(rng, 60))]
    orders = [[id, rng.choice(customers)[0], day(-rng.randint(1, 60)), rng.randint(900, 40000),
               rng.choice(("paid", "packed", "shipped", "delivered", "returned"))]
              for id in numbers(rng, "ORD-", 5, 90)]
    tickets = [[i, rng.choice(customers)[0], subject, "normal", "closed", day(-rng.randint(5, 50))]
               for i, subject in enumerate(WORDS["old_tickets"], 1)]
    return {"customers": customers, "orders": orders, "tickets": tickets}


def technical(rng: random.Random) -> Rows:
    readings = []
    for name, kind in WORDS["devices"].items():
        checks = ["connectivity", *(["disk", "memory"] if kind in ("server", "laptop") else []),
                  *(["battery"] if kind in ("laptop", "handheld") else [])]
        for item in checks:
            ok = rng.random() < 0.8
            readings.append([name, item, int(ok), rng.choice(WORDS["readings"][item]["ok" if ok else "bad"])])
    return {"devices": [list(pair) for pair in WORDS["devices"].items()], "readings": readings,
            "articles": [[i, *pair] for i, pair in enumerate(WORDS["articles"].items(), 1)],
            "systems": [[name] for name in WORDS["systems"]]}


def invoice_rows(rng: random.Random) -> list[list[Any]]:
    """Each fourth has one fault: a wrong sum, a wrong tax, a day to come, or an unknown sender."""
    rows = []
    for i, (number, file) in enumerate(zip(numbers(rng, "INV-", 4, len(WORDS["invoice_files"])),
                                           WORDS["invoice_files"])):
        net = rng.choice((rng.randint(4000, 80000), rng.randint(90000, 700000), rng.randint(900000, 3000000)))
        tax, sender, issued = round(0.2 * net), rng.choice(WORDS["suppliers"]), day(-rng.randint(3, 90))
        fault = i // 4 % 4 if i % 4 == 0 else None
        total = net + tax + (1000 if fault == 0 else 0)
        if fault == 1:
            tax, total = tax // 2, net + tax // 2
        issued = day(40) if fault == 2 else issued
        rows.append([number, file, "Golden Palm Advisory" if fault == 3 else sender, issued, net, tax, total])
    return rows


def office(rng: random.Random) -> Rows:
    colleagues = [[name, role] for name, role in WORDS["colleagues"].items()]
    emails = [[id, "Omar" if i % 8 == 3 else "Greta", address(rng, name), subject, body, None]
              for i, (id, name, (subject, body)) in enumerate(zip(numbers(rng, "M-", 4, len(WORDS["emails"])),
                                                                  people(rng, len(WORDS["emails"])), WORDS["emails"]))]
    meetings, attendance = [], []
    for i, (title, at) in enumerate(zip(WORDS["old_meetings"], workdays(1, 12)), 1):
        meetings.append([i, title, at, rng.choice(("09:00", "11:00", "14:00")), 60])
        attendance += [[i, name] for name in sorted(rng.sample(list(WORDS["colleagues"]), 2))]
    return {"colleagues": colleagues, "emails": emails, "suppliers": [[name] for name in WORDS["suppliers"]],
            "invoices": invoice_rows(rng), "meetings": meetings, "attendance": attendance}


def assistant(rng: random.Random) -> Rows:
    tasks = [[i, OWNER if i % 5 else OTHER, title, rng.choice((None, day(rng.randint(-9, 30)))),
              rng.choice(("low", "normal", "high")), "done" if i % 7 == 0 else "open"]
             for i, title in enumerate(WORDS["old_tasks"], 1)]
    notes = [[OWNER, title, body] for title, body in WORDS["notes"].items()]
    places, streets = [], WORDS["streets"]
    for city in WORDS["cities"]:
        for kind in WORDS["place_kinds"]:
            for name in rng.sample(WORDS["place_names"], rng.randint(1, 2)):
                places.append([len(places) + 1, kind, city, f"{name} {kind}".title(),
                               f"{rng.choice(streets)} {rng.randint(1, 99)}"])
    return {"tasks": tasks, "notes": [*notes, [OTHER, "surprise party", "For Mira. She must not know."]],
            "places": places}


def finance(rng: random.Random) -> Rows:
    prices, days = [], workdays(-182, 130)
    days = [each for each in days if each < TODAY.isoformat()]
    for symbol in WORDS["shares"]:
        price, drift = rng.uniform(20, 600), rng.gauss(0, 0.002)
        for each in days:
            price *= 1 + rng.gauss(drift, 0.015)
            prices.append([symbol, each, max(100, round(100 * price))])
    holdings = [[name, OWNER if i else OTHER, symbol, rng.randint(2, 80)] for i, name in enumerate(WORDS["portfolios"])
                for symbol in sorted(rng.sample(list(WORDS["shares"]), 4))]
    return {"shares": [list(pair) for pair in WORDS["shares"].items()], "prices": prices, "holdings": holdings}


def kiosk(rng: random.Random) -> Rows:
    items = [[name, kind, price] for kind, of in WORDS["products"].items() for name, price in of.items()]
    stock = [[store, item[0], rng.choice((0, 1, 3, 6, 9, 14))] for store in WORDS["stores"] for item in items]
    return {"stores": [[name] for name in WORDS["stores"]], "products": items, "stock": stock,
            "discounts": [[code, *of] for code, of in WORDS["discounts"].items()]}


def clinic(rng: random.Random) -> Rows:
    ids, drugs = numbers(rng, "P-", 4, 50), WORDS["drugs"]
    patients = [[id, name, f"{rng.randint(1938, 2006)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
                 rng.choice(drugs) if i % 6 == 0 else None] for i, (id, name) in enumerate(zip(ids, people(rng, 50)))]
    slots = [[doctor, each, time, rng.choice((None, None, rng.choice(ids)))] for doctor in WORDS["doctors"]
             for each in workdays(1, 15) for time in ("08:30", "09:15", "10:45", "13:30", "15:00")]
    tokens = [[f"{rng.choice('BCDFGHKM')}{rng.choice('PQRSTWXZ')}{rng.randint(10, 99)}{rng.choice('KLMNRT')}"
               f"{rng.randint(1, 9)}", id, day(-3) if i % 9 == 0 else day(14)] for i, id in enumerate(ids)]
    notes = [[i, rng.choice(ids), text, day(-rng.randint(10, 300))] for i, text in enumerate(WORDS["old_notes"], 1)]
    taken = [[i, rng.choice(ids), rng.choice(drugs), rng.choice(WORDS["doses"]), day(-rng.randint(10, 200))]
             for i in range(1, 41)]
    effects = [[*sorted(pair.split(" + ")), *of] for pair, of in WORDS["interactions"].items()]
    return {"doctors": [[name] for name in WORDS["doctors"]], "drugs": [[name] for name in drugs],
            "patients": patients, "slots": slots, "tokens": tokens, "record_notes": notes, "prescriptions": taken,
            "interactions": effects}


def rows() -> Rows:
    """Every table's rows, in an order in which each refers only to what is before it."""
    made: Rows = {"about": [["today", TODAY.isoformat()]]}
    for desk in (support, technical, office, assistant, finance, kiosk, clinic):  # a change in one leaves the others
        made |= desk(random.Random(f"{SEED} {desk.__name__}"))
    return made


def invoice_lines(row: Sequence[Any]) -> Iterator[str]:
    number, _, sender, issued, net, tax, total = row
    yield from (f"Invoice {number}", f"From: {sender}", "To: Kestrel Supplies", f"Date: {issued}", "",
                "Services as agreed", "")
    yield from (f"{name}: EUR {cents / 100:,.2f}" for name, cents in (("Net", net), ("Tax", tax), ("Total", total)))


def write_invoice(row: Sequence[Any]) -> None:
    path = HERE / "invoices" / row[1]
    if path.suffix == ".txt":
        path.write_text("\n".join(invoice_lines(row)) + "\n", encoding="utf-8", newline="\n")
        return
    from fpdf import FPDF
    page = FPDF()
    page.set_creation_date(datetime.datetime.fromisoformat(f"{row[3]}T12:00:00+00:00"))  # the same file every time
    page.add_page()
    page.set_font("Helvetica", size=12)
    for line in invoice_lines(row):
        page.cell(0, 8, line, new_x="LMARGIN", new_y="NEXT")
    page.output(path)


def main() -> None:
    made = rows()
    lines = [f'{json.dumps(table)}: [\n{",".join(chr(10) + json.dumps(row, ensure_ascii=False) for row in of)[1:]}\n]'
             for table, of in made.items()]
    (HERE / "rows.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")
    for row in made["invoices"]:
        write_invoice(row)
    if "--scenarios" in sys.argv:
        import scenarios
        scenarios.main()


if __name__ == "__main__":
    main()
