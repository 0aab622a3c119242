"""Where personal data stand in a text: for each kind, the spans (start, end)."""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module

from labkit.safety.given_names import GIVEN_NAMES

Span = tuple[int, int]
PHONE_REGIONS = ("US", "GB")  # how numbers without +country are read
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = (rf"(?:\d{{4}}-\d\d-\d\d|\d{{1,2}}[./-]\d{{1,2}}[./-]\d{{2,4}}|\d{{1,2}}(?:st|nd|rd|"
         rf"th)? (?:of )?{_MONTH},? \d{{4}}|"
         rf"{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}})")
_BORN = re.compile(rf"\b(?:born|birth(?:day|date)?|d\.?o\.?b\b|geb(?:oren|urtsdatum)?|"
                   rf"\bn[ée]e? le)[^\n\d]{{0,25}}({_DATE})",
                   re.IGNORECASE)
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-]*@)")
_AT, _DOT = (rf"\s?[(\[{{]\s?{word}\s?[)\]}}]\s?" for word in ("at", "dot"))
_EMAIL_SPELT = re.compile(rf"\b[\w.+-]{{1,64}}(?:{_DOT}[\w+-]{{1,64}}){{0,3}}{_AT}[\w-]{{1,63}}"
                          rf"(?:{_DOT}[\w-]{{2,24}}|\.[a-z]{{2,24}}){{1,4}}", re.IGNORECASE)
_CARD = re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-])")
_CARD_PREFIX = re.compile(r"4|5[1-5]|2[2-7]|3[47]|6(?:011|5|4[4-9])|35")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{1,4}){3,9}(?!\w)", re.IGNORECASE)
_IP = re.compile(r"(?<![\w.:/])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9a-f]{1,4}:){2,7}[0-9a-f]{0,4}(?::[0-9a-f]{1,4}){0,6})"
                 r"(?![\w:]|\.\d)", re.IGNORECASE)
_CALL = re.compile(r"(?:phone|call|tel|mobile|cell|reach|text|ring|fax|"
                   r"whatsapp)\W{1,3}(?:\w+\W{1,2}){0,3}$", re.IGNORECASE)

# (stdnum's module, what the number looks like, words that must stand before it or None where its check is strong)
_IDS = (
    ("us.ssn", r"\d{3}-\d{2}-\d{4}", None),
    ("us.ssn", r"\d{9}", r"ssn|social security"),
    ("gb.nhs", r"\d{3}[ -]?\d{3}[ -]?\d{4}", r"nhs"),
    ("de.idnr", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", r"steuer|tax|idnr|tin"),
    ("es.dni", r"\d{8}-?[A-Z]", None), ("es.nie", r"[XYZ]-?\d{7}-?[A-Z]", None),
    ("it.codicefiscale", r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]", None),
    ("nl.bsn", r"\d{9}|\d{3}\.\d{2}\.\d{3}|\d{4}\.\d{2}\.\d{3}", r"bsn|burgerservice|citizen|dutch"),
    ("pl.pesel", r"\d{11}", r"pesel"), ("fr.nir", r"[12] ?\d\d ?\d\d ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d", None),
    ("se.personnummer", r"(?:\d{2})?\d{6}[-+]\d{4}", None), ("fi.hetu", r"\d{6}[-+A]\d{3}[0-9A-Y]", None),
    ("no.fodselsnummer", r"\d{6} ?\d{5}", r"f[øo]dselsnummer|norwegian|national id|personal id"),
    ("be.nn", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}", None), ("ch.ssn", r"756\.?\d{4}\.?\d{4}\.?\d{2}", None),
    ("ie.pps", r"\d{7}[A-W][A-IW]?", r"pps"),
)
_NINO = re.compile(r"\b(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]\b")
_STREET = (r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Terrace|Close|Crescent|"
           r"Gardens?|"
           r"Grove|Hill|Mews|Parade|Place|Row|Square|Walk|Parkway|Highway)")
_WORD = r"[A-ZÀ-ÞŠŽ][\w'’.-]+"
_TOWN = r"[A-ZÀ-ÞŠŽ][^\W\d]+"
_ADDRESS = re.compile(
    rf"\b(?:(?:Flat|Apt\.?|Apartment|Unit|Suite) \w{{1,4}},? )?\d{{1,5}}[A-Za-z]?,? (?:{_WORD} ){{1,3}}{_STREET}\b\.?"
    rf"(?:,? (?:(?:Flat|Apt\.?|Apartment|Unit|Suite) \w{{1,4}}))?"
    rf"(?:,(?: {_TOWN}){{1,3}})?(?:,? (?:[A-Z]{{2}} )?\d{{5}}(?:-\d{{4}})?|,? [A-Z]{{1,2}}\d[A-Z\d]? ?\d[A-Z]{{2}})?"
    rf"|\b(?:[A-ZÄÖÜ][\wäöüß.-]*(?:straße|strasse|weg|platz|allee|gasse|laan|straat)|(?:Rue|Via|Calle|Plaza|Avenida)"
    rf"(?: (?:de|del|della|la|des|du))?(?: {_WORD}){{1,3}}),? \d{{1,4}}[a-z]?\b(?:,? \d{{4,5}} {_WORD})?"
    rf"|\b\d{{1,4}},? [Rr]ue (?:(?:de|du|des|la|le|d') ?){{0,2}}{_WORD}(?: {_WORD})?(?:,? \d{{5}} {_WORD})?"
    rf"|\bP\.? ?O\.? Box \d{{1,6}}\b|\b[A-Z]{{1,2}}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{{2}}\b")
_NAME = rf"{_WORD}(?:[ -]{_WORD}){{0,2}}"
_TITLED = re.compile(rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Herr|Frau|Mme|Sir|Dame)\b\.? ((?:[A-Z]\. )?{_NAME})")
_INTRODUCED = re.compile(rf"(?:\b[Mm]y name is|\b[Nn]ame(?:d| is|:)|\b[Pp]atient(?: name)?:|\b[Cc]ustomer:|"
                         rf"\b[Cc]ontact:|"
                         rf"\b[Ss]igned(?: by)?:?|\bcalled|\b[Dd]ear|[Rr]egards,|[Ss]incerely,|\b[Aa]ccount holder:?|"
                         rf"\b[Bb]eneficiary:?|\b[Aa]ttn\.?:?|\bc/o)\s+({_NAME})")
_NO_NAMES = {"Sir", "Madam", "Customer", "Customers", "Team", "All", "Colleague", "Colleagues", "Support", "Friend",
             "The"}
_GIVEN = re.compile(rf"\b(?:{'|'.join(GIVEN_NAMES)})(?: [A-Z]\.)?(?: (?:van|von|de|der|den|da|di|el|al|bin|ter)){{0,2}}"
                    rf" {_WORD}")


def emails(text: str) -> Iterator[Span]:
    yield from (m.span() for pattern in (_EMAIL, _EMAIL_SPELT) for m in pattern.finditer(text))


def phones(text: str) -> Iterator[Span]:
    """A number that exists, as libphonenumber knows; one written without any break only after a word like "call"."""
    import phonenumbers
    for region in PHONE_REGIONS:
        for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.POSSIBLE):
            called = _CALL.search(text[max(0, match.start - 40):match.start]) is not None
            if called or _written_as_phone(match.raw_string, phonenumbers.is_valid_number(match.number)):
                yield match.start, match.end


def _written_as_phone(raw: str, valid: bool) -> bool:
    """With breaks, and either a number that exists, or ten digits and more that begin like one: + or 0."""
    breaks, digits = re.search(r"[+() .-]", raw), sum(map(str.isdigit, raw))
    return bool(breaks) and digits >= 7 and (valid or (digits >= 10 and re.match(r"[+(]?\+?0|\+", raw) is not None))


def cards(text: str) -> Iterator[Span]:
    from stdnum import luhn
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if _CARD_PREFIX.match(digits) and len(set(digits)) > 1 and luhn.is_valid(digits):
            yield match.span()


def ibans(text: str) -> Iterator[Span]:
    """Checked by country, length and check digits; a word that follows is left out of it."""
    from stdnum import iban
    for match in _IBAN.finditer(text):
        for end in range(match.end(), match.start() + 14, -1):
            if (end == len(text) or not text[end].isalnum()) and iban.is_valid(text[match.start():end]):
                yield match.start(), end
                break


def national_ids(text: str) -> Iterator[Span]:
    yield from (match.span() for match in _NINO.finditer(text))
    for module, pattern, words in _IDS:
        check = import_module(f"stdnum.{module}").is_valid
        for match in re.finditer(rf"(?<![\w.-])(?:{pattern})(?![\w-]|\.\d)", text):
            before = text[max(0, match.start() - 40):match.start()]
            if (words is None or re.search(words, before, re.IGNORECASE)) and check(match.group()):
                yield match.span()


def birth_dates(text: str) -> Iterator[Span]:
    yield from (match.span(1) for match in _BORN.finditer(text))


def ip_addresses(text: str) -> Iterator[Span]:
    """Of a machine somewhere; not loopback, and not a version like 10.2 or a time like 12:30:05."""
    for match in _IP.finditer(text):
        try:
            address = ipaddress.ip_address(match.group())
        except ValueError:
            continue
        before = text[max(0, match.start() - 10):match.start()]
        if not address.is_loopback and not re.search(r"(version|release|v)\W*$", before, re.IGNORECASE):
            yield match.span()


def addresses(text: str) -> Iterator[Span]:
    yield from (match.span() for match in _ADDRESS.finditer(text))


def names(text: str) -> Iterator[Span]:
    """After a title or "my name is", and a common given name with a word like a surname after it."""
    for pattern in (_TITLED, _INTRODUCED):
        yield from (m.span(1) for m in pattern.finditer(text) if m.group(1).split()[0] not in _NO_NAMES)
    yield from (match.span() for match in _GIVEN.finditer(text))


def listed(text: str, known: Iterable[str]) -> Iterator[Span]:
    """Names that somebody has listed, wherever they stand."""
    for name in known:
        yield from (m.span() for m in re.finditer(rf"\b{re.escape(name)}\b", text, re.IGNORECASE))


FINDERS: dict[str, Callable[[str], Iterator[Span]]] = {
    "email": emails, "iban": ibans, "card": cards, "id": national_ids, "birth": birth_dates, "ip": ip_addresses,
    "phone": phones, "address": addresses, "name": names,
}
