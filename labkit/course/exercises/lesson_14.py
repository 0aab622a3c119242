"""Lesson 14, A service that keeps its promises: a polite client, a door, what to do after a crash."""
from __future__ import annotations

from labkit.course.checking import exercise, expect


@exercise("14.1", title="A polite client",
          hint="Loop `tries` times: send, and return the answer unless its status is 429 or 503. Before the next try "
               "sleep for the seconds in headers['retry-after'], 1 where it is missing. Do not sleep after the last.")
def check_ask_politely(answer):
    def run(*replies, tries=3):
        left, slept = list(replies), []
        return answer(lambda: left.pop(0), tries, slept.append), slept, len(left)
    ok, full, limit = (200, {}), (503, {"retry-after": "4"}), (429, {"retry-after": "2"})
    expect(run(ok), (ok, [], 0), "an answer at once")
    expect(run(full, limit, ok), (ok, [4, 2], 0), "refused twice, then answered")
    expect(run(full, full, full, ok), (full, [4, 4], 1), "three tries and no more")
    expect(run((503, {}), ok), (ok, [1], 0), "no Retry-After: one second")
    expect(run((400, {}), ok), ((400, {}), [], 1), "a request that makes no sense is not sent again")
    expect(run(full, tries=1), (full, [], 0), "one try")


@exercise("14.2", title="The door",
          hint="Look at the full queue first, it concerns everybody. Then count how often the client's name is in the "
               "queue: half of the places are places // 2.")
def check_door(answer):
    expect(answer([], "ann", 4), "wait", "an empty queue")
    expect(answer(["bob", "cid", "dan"], "ann", 4), "wait", "the last place")
    expect(answer(["bob", "cid", "dan", "eva"], "ann", 4), 503, "all places taken")
    expect(answer(["ann", "ann"], "ann", 4), 429, "half of the places are hers already")
    expect(answer(["ann", "ann"], "bob", 4), "wait", "but there is room for others")
    expect(answer(["ann", "ann", "bob", "bob"], "ann", 4), 503, "full, whoever asks")


@exercise("14.3", title="After the crash",
          hint="Go through the events in order. 'accepted' adds a job, 'done' takes it away; 'running' changes "
               "nothing, for what was only begun has to be done again.")
def check_to_do(answer):
    expect(list(answer([])), [], "nothing happened")
    expect(list(answer([("a", "accepted"), ("b", "accepted")])), ["a", "b"], "accepted only, in order")
    expect(list(answer([("a", "accepted"), ("b", "accepted"), ("a", "running"), ("a", "done"), ("b", "running")])),
           ["b"], "a is done, b was only begun")
    expect(list(answer([("a", "accepted"), ("b", "accepted"), ("b", "running"), ("b", "done"), ("c", "accepted")])),
           ["a", "c"], "done out of order")
    expect(list(answer([("a", "accepted"), ("a", "running"), ("a", "running"), ("a", "done")])), [],
           "begun twice and done once")
