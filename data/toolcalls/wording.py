"""Values and the words that people use for them: (value, words) drawn from a parameter's description.

Knows one parameter at a time, nothing of requests.
"""
from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_CITIES = """Lisbon|Oslo|Nairobi|Lima|Hanoi|Cairo|Quito|Porto|Ghent|Turin|Kraków|Osaka|Perth|Leeds|Austin|Denver|
Tucson|Marseille|Gothenburg|Salzburg|Cape Town|Buenos Aires|Ho Chi Minh City|New Orleans|Salt Lake City|Mexico City|
Tel Aviv|St. Petersburg|Rio de Janeiro|Kuala Lumpur|Split|Bath|Cork|Nice|Bergen|Tallinn|Riga|Utrecht|Bologna|
Valencia|Sapporo|Wellington|Halifax|Calgary|Madison|Boise|Portland, Oregon|Manchester, UK|Paris, France|Dresden|
Bilbao|Accra|Pune|San Antonio, TX|Birmingham, AL|Springfield, IL|Toronto, Canada|Kyoto, Japan|Sevilla|Palermo"""
_COUNTRIES = """Portugal|Norway|Kenya|Peru|Vietnam|Egypt|Ecuador|Belgium|Italy|Poland|Japan|Australia|Iceland|Chile|
New Zealand|South Korea|Costa Rica|Czech Republic|Saudi Arabia|Sri Lanka|the Netherlands|Ireland|Morocco|Canada|
India"""
_FIRST = """Mara|Jonas|Priya|Tom|Aisha|Luca|Ingrid|Chen|Sofía|Kofi|Elena|Marek|Yuki|Olu|Freya|Hassan|Nadia|Piotr|
Zoë|Ravi|Bea|Tomás|Leila|Finn|Greta|Amir|Hanna|Diego|Noor|Sven|Ruth|Emeka|Clara|Viktor|Anouk"""
_LAST = """Lindqvist|O'Brien|Okafor|Haddad|Nakamura|Fernandes|Kowalski|van Dijk|Petrov|Iyer|Castillo|Berg|Moreau|
Whitfield|Osei|Novak|Ferrari|Sato|Eriksen|Dubois|Marsh|Keller|Abara|Thornton|Reyes|Holm"""
_COMPANIES = """Nordlicht GmbH|Blue Heron Foods|Tessera Labs|Oakline Furniture|Kite & Anchor|Meridian Freight|
Solvang Energy|Papermoon Press|Quarry Street Bakery|Aldercrest Insurance|Vantage Optics|Hollow Reed Music|
Ferrous Tools Ltd|Lumen Health"""
_STREETS = """12 Alder Lane|48 Harbour Street|7 Rue des Lilas|221 Mill Road|9 Station Square|1500 Maple Avenue|
33 Kirkegata|86b Canal Walk|5 Old Market Place|410 West 3rd Street|17 Via Roma|2 Windmill Close"""
_PRODUCTS = """desk lamp|wireless mouse|rain jacket|espresso machine|yoga mat|oak bookshelf|running shoes|
water bottle|USB-C cable|garden hose|noise-cancelling headphones|cast iron pan|electric toothbrush|camping stove|
standing desk|wool blanket|bike helmet|board game|laptop sleeve|ceramic teapot"""
_FILMS = """The Last Ferry|Northern Lights|A Quiet Harvest|Paper Tigers|The Clockmaker's Son|Inception|Amélie|
Spirited Away|Casablanca|Midnight in Lisbon|The Seventh Door|Salt and Honey|Blade Runner|Parasite|
Snow on the Tracks"""
_SONGS = """Blue in Green|Harbour Song|Bohemian Rhapsody|Paper Boats|Here Comes the Sun|Slow Train North|
Clair de Lune|Midnight Oil|Feeling Good|Glass Garden|Imagine|Weather Report|Fly Me to the Moon|Hurt|Copper Sky"""
_BOOKS = """Dune|The Salt Path|Middlemarch|Pale Blue Dot|The Lighthouse Keeper|Norwegian Wood|A Room of One's Own|
The Name of the Rose|Small Gods|Winter Orchard|Beloved|The Glass Map|Kindred|Moby-Dick"""
_URLS = """https://example.com/report.pdf|http://shop.example.org/item/42|https://blog.example.net/post?id=7|
https://docs.example.com/api|www.example.org|https://example.io/feed.xml"""
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_LANGUAGES = """French|German|Spanish|Swedish|Japanese|Polish|Portuguese|Arabic|Hindi|Dutch|Korean|Greek|Turkish|
Finnish|Italian|Swahili"""
_MONEY = {"EUR": ("euros", "EUR"), "USD": ("US dollars", "USD", "dollars"), "GBP": ("pounds", "GBP", "British pounds"),
          "SEK": ("Swedish kronor", "SEK"), "JPY": ("yen", "JPY", "Japanese yen"), "CHF": ("Swiss francs", "CHF"),
          "INR": ("rupees", "INR"), "CAD": ("Canadian dollars", "CAD"), "PLN": ("zloty", "PLN")}


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split("|")]


LISTS = {"city": _split(_CITIES), "country": _split(_COUNTRIES), "first_name": _split(_FIRST),
         "company": _split(_COMPANIES), "street": _split(_STREETS), "product": _split(_PRODUCTS),
         "film": _split(_FILMS), "song": _split(_SONGS), "book": _split(_BOOKS), "url": _split(_URLS),
         "month": _split(_MONTHS), "weekday": _split(_DAYS), "language": _split(_LANGUAGES)}


def draw(about: Mapping[str, Any], rng: random.Random) -> tuple[Any, str]:
    """A value of this parameter and how somebody might say it."""
    if about["type"] == "array":
        return _list(about, rng)
    if "say" in about:
        return _said(about, rng)
    if "values" in about:
        value = rng.choice(about["values"])
        return value, _worded(value, rng)
    if "range" in about:
        value = _number(about, rng)
        return value, _worded(value, rng)
    if "pattern_of" in about:
        code = "".join(rng.choice("0123456789") if c == "#" else rng.choice("ABCDEFGHKLMNPRSTVWX") if c == "@" else c
                       for c in about["pattern_of"])
        return code, code
    if "from" in about:
        return _pooled(about["from"], rng)
    if about["type"] == "boolean":
        value = rng.random() < 0.5
        return value, "yes" if value else "no"
    value = rng.choice(about["enum"])
    return value, str(value).replace("_", " ")


def _said(about: Mapping[str, Any], rng: random.Random) -> tuple[Any, str]:
    """A value with wordings of its own; one that has none is worded as it is."""
    known = list(dict.fromkeys([*about["say"], *about.get("enum", ()), *about.get("values", ())]))
    value = rng.choice(known)
    wordings = about["say"].get(value) or [str(value).replace("_", " ")]
    return value, rng.choice(wordings)


def _list(about: Mapping[str, Any], rng: random.Random) -> tuple[list, str]:
    low, high = about.get("length", (2, 4))
    wanted, items = rng.randint(low, high), []
    for _ in range(8 * wanted):
        value, words = draw(about["items"], rng)
        distinct = about["items"]["type"] == "string"
        if len(items) < wanted and not (distinct and value in [v for v, _ in items]):
            items.append((value, words))
    return [value for value, _ in items], _joined([words for _, words in items], rng)


def _joined(words: list[str], rng: random.Random) -> str:
    if len(words) == 1:
        return words[0]
    style = rng.random()
    if style < 0.2:
        return ", ".join(words)
    if style < 0.3 and all(word.lstrip("-").replace(".", "").isdigit() for word in words):
        return f"[{', '.join(words)}]"
    comma = "," if style > 0.9 and len(words) > 2 else ""
    return f"{', '.join(words[:-1])}{comma} and {words[-1]}"


def _number(about: Mapping[str, Any], rng: random.Random) -> int | float:
    low, high = about["range"]
    step = about.get("step", 1 if about["type"] == "integer" else None)
    if step is None:
        digits = 2 if high - low < 20 else 1
        value = round(rng.uniform(low, high), rng.choice((0, digits)))
    else:
        value = low + step * rng.randint(0, int((high - low) / step + 1e-9))
    if about["type"] == "integer":
        return int(value)
    value = round(float(value), 6)
    return int(value) if value.is_integer() else value


def _worded(value: Any, rng: random.Random) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and 1 < value <= 12 and rng.random() < 0.15:
        return SMALL[value]
    if isinstance(value, int) and abs(value) >= 1000 and rng.random() < 0.35 and not 1900 <= value <= 2100:
        return f"{value:,}"
    return f"{value:.10g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)


def _pooled(pool: str, rng: random.Random) -> tuple[Any, str]:
    if pool in LISTS:
        value = rng.choice(LISTS[pool])
        return value, value
    if pool == "person":
        value = f"{rng.choice(LISTS['first_name'])} {rng.choice(_split(_LAST))}"
        return value, value
    if pool == "email":
        name = rng.choice(LISTS["first_name"]).lower()
        host = rng.choice(("example.com", "mail.example.org", "acme.test"))
        value = f"{name}{rng.choice(('', '.k', str(rng.randint(2, 99))))}@{host}".encode("ascii", "ignore").decode()
        return value, value
    if pool == "phone":
        value = f"+{rng.randint(1, 98)} {rng.randint(100, 999)} {rng.randint(100000, 999999)}"
        return value, value
    if pool == "currency":
        value = rng.choice(list(_MONEY))
        return value, rng.choice(_MONEY[value])
    return _day(rng) if pool == "date" else _hour(rng)


def _day(rng: random.Random) -> tuple[str, str]:
    day = date(2023, 1, 1) + timedelta(days=rng.randrange(1600))
    month, n = _split(_MONTHS)[day.month - 1], day.day
    ending = "th" if 10 < n < 14 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    words = rng.choice((day.isoformat(), f"{n} {month} {day.year}", f"{month} {n}, {day.year}",
                        f"{month} {n}{ending}, {day.year}", f"the {n}{ending} of {month} {day.year}",
                        f"{n} {month[:3]} {day.year}"))
    return day.isoformat(), words


def _hour(rng: random.Random) -> tuple[str, str]:
    hour, minute = rng.randrange(6, 24), rng.choice((0, 0, 15, 30, 45, 5, 20))
    value, small = f"{hour:02}:{minute:02}", hour % 12 or 12
    half = "am" if hour < 12 else "pm"
    short = f"{small} {half}" if minute == 0 else f"{small}:{minute:02} {half}"
    return value, rng.choice((value, short, short.replace(" ", "")))
