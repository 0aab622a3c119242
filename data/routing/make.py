"""Which questions two models got right, as RouteLLM recorded it: `python data/routing/make.py ROUTELLM_FOLDER`.

Reads a checkout of the RouteLLM repository and writes routellm.jsonl, a line a subject. No text is taken over: of a
question it keeps its number in the file and how many words it has.
"""
from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

WEAK, STRONG = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"


def subject(benchmark: str, name: str, file: Path) -> dict:
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    bits = {key: "".join("1" if row[model] == "True" else "0" for row in rows)
            for key, model in (("weak", WEAK), ("strong", STRONG))}
    return {"benchmark": benchmark, "subject": name, **bits, "words": [len(row["prompt"].split()) for row in rows]}


def main(folder: str) -> None:
    evals = Path(folder) / "routellm" / "evals"
    found = [subject("gsm8k", "gsm8k", evals / "gsm8k" / "gsm8k_responses.csv")]
    found += [subject("mmlu", file.stem.removeprefix("mmlu_"), file)
              for file in sorted((evals / "mmlu" / "responses").glob("*.csv"))]
    with Path(__file__).with_name("routellm.jsonl").open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(json.dumps(part) + "\n" for part in found)


if __name__ == "__main__":
    csv.field_size_limit(10**7)
    main(*sys.argv[1:])
