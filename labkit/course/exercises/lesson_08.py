"""Lesson 08, vLLM: counting blocks, one warning from many figures, an old command brought up to date."""
from __future__ import annotations

import json

from labkit.course.checking import CheckFailed, exercise, expect


@exercise("08.1", title="Count the blocks",
          hint="An answer of 17 tokens in blocks of 16 holds two of them. -(-17 // 16) rounds up. The empty places "
               "are all places in the blocks less all tokens.")
def check_blocks(answer):
    expect(tuple(answer([16], 16)), (1, 0), "one answer that fills its block")
    expect(tuple(answer([17], 16)), (2, 15), "one token more")
    expect(tuple(answer([1, 33, 16], 16)), (5, 30), "three answers")
    expect(tuple(answer([10, 10], 4)), (6, 4), "blocks of 4")
    expect(tuple(answer([], 16)), (0, 0), "nobody there")


@exercise("08.2", title="One warning",
          hint="Ask first whether anybody waits at all: if not, it is fine, however full it is.")
def check_alarm(answer):
    for waiting, usage, wanted in [(0, 0.2, "fine"), (0, 0.99, "fine"), (3, 0.95, "full"), (1, 0.5, "busy"),
                                   (1, 0.9, "busy")]:
        values = {"vllm:num_requests_waiting": float(waiting), "vllm:kv_cache_usage_perc": usage,
                  "vllm:num_requests_running": 4.0}
        expect(answer(values), wanted, f"{waiting} waiting, {usage:.0%} of the blocks held")


@exercise("08.3", title="An old command, today",
          hint="Go through the arguments with an iterator: next(rest) takes the value that follows a flag. "
               "json.dumps makes the JSON text.")
def check_today(answer):
    plain = ["some/model", "--port", "8001"]
    expect(answer(list(plain)), plain, "nothing old in it")
    expect(answer(["some/model", "--disable-log-requests", "--port", "8001"]), plain, "without the dead flag")
    found = answer(["m", "--speculative-model", "s", "--max-model-len", "4096", "--disable-log-requests"])
    if not isinstance(found, list) or found[:2] != ["m", "--speculative-config"] or len(found) != 5:
        raise CheckFailed(f"--speculative-model s should become --speculative-config and one JSON text; got {found!r}")
    try:
        config = json.loads(found[2])
    except (TypeError, ValueError):
        raise CheckFailed(f"What follows --speculative-config is no JSON: {found[2]!r}") from None
    expect(config, {"model": "s", "num_speculative_tokens": 4}, "the JSON text")
    expect(found[3:], ["--max-model-len", "4096"], "what stands after it")
