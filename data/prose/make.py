"""The text that quality is measured on: `python data/prose/make.py` writes course.txt from the lessons' explanations.

What is kept here is of November 2026. Writing it again changes every perplexity: then measure all levels again.
"""
from __future__ import annotations

import re
from pathlib import Path

LESSONS = Path(__file__).resolve().parents[2] / "notebooks" / "source"
TAKEN = ("00", "01", "02", "05", "06", "07", "08", "09", "10")


def paragraphs(source: str) -> list[str]:
    """The running text of a lesson's markdown cells: no headings, lists, tables or code."""
    cells = re.findall(r"^# %% \[markdown\]\n((?:#.*\n)*)", source, re.MULTILINE)
    blocks = "\n\n".join("\n".join(line[2:] for line in cell.splitlines()) for cell in cells).split("\n\n")
    return [" ".join(block.split()) for block in blocks if re.match(r"[A-Z]", block) and len(block) > 120]


def plain(text: str) -> str:
    """Without emphasis, code marks and links."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text.replace("**", "").replace("`", "").replace("*", ""))


def main() -> None:
    files = [next(LESSONS.glob(f"{number}_*.py")) for number in TAKEN]
    found = [plain(text) for file in files for text in paragraphs(file.read_text(encoding="utf-8"))]
    Path(__file__).with_name("course.txt").write_text("\n\n".join(found) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
