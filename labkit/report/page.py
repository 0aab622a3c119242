"""The report as a page: one HTML file that needs nothing else, fit for a screen by day and night, and for paper."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError
from labkit.models.cache import atomic_file
from labkit.report.card import Card
from labkit.report.figures import pictures
from labkit.report.rubric import Grade
from labkit.report.words import interval, key_figures, money, verdict

TEMPLATE = "page.html"


def html(card: Card, grade: Grade | None = None) -> str:
    """The page. Everything in it comes from card.to_dict(), and from the grade if there is one."""
    import jinja2
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(interval=interval, money=money)
    return environment.get_template(TEMPLATE).render(
        **card.to_dict(), key_figures=key_figures(card.to_dict()), verdict=verdict(card.to_dict()),
        pictures=pictures(card.to_dict()), grade=grade)


def to_json(card: Card, grade: Grade | None = None) -> dict[str, Any]:
    """The report's dict, and the grade under "rubric"."""
    return {**card.to_dict(), **({"rubric": grade.to_dict()} if grade else {})}


def write(card: Card, path: str | Path, grade: Grade | None = None) -> tuple[Path, Path]:
    """Write the page, and the same as JSON beside it: (page, JSON). Files of these names are replaced, whole.

    Raises LabkitError where they cannot be written.
    """
    page = Path(path).with_suffix(".html")
    texts = {page: html(card, grade), page.with_suffix(".json"): json.dumps(to_json(card, grade), indent=2,
                                                                            ensure_ascii=False)}
    for file, text in texts.items():
        try:
            with atomic_file(file) as part:
                part.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise LabkitError(f"{file} cannot be written: {error.strerror}. Name another place with --to.") from error
    return page, page.with_suffix(".json")
