"""The queue: bounded, by priority, fair between clients, with deadlines; and nothing is lost when people leave."""
from __future__ import annotations

import asyncio
import random
import time

import pytest

from labkit.serving.admission import Admission, Busy, Left, Ticket, TooLate


async def hold(admission, ticket, log, name, gate=None):
    """Take a turn, note it, and hold it until the gate opens."""
    async with admission.turn(ticket):
        log.append(name)
        if gate:
            await gate.wait()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


def order_of(tickets, at_once=1):
    """The order in which tickets that wait behind a first one are served."""
    async def run():
        admission, log, gate = Admission(at_once, 100), [], asyncio.Event()
        first = [asyncio.create_task(hold(admission, Ticket("first"), [], "", gate)) for _ in range(at_once)]
        await settle()
        tasks = []
        for name, ticket in tickets:
            tasks.append(asyncio.create_task(hold(admission, ticket, log, name)))
            await settle()
        gate.set()
        await asyncio.gather(*first, *tasks)
        assert admission.serving == admission.waiting == 0
        return log
    return asyncio.run(run())


def test_first_come_first_served_for_one_client():
    assert order_of([(n, Ticket("a")) for n in range(5)]) == [0, 1, 2, 3, 4]


def test_higher_priorities_come_first():
    assert order_of([("low", Ticket("a", -1)), ("normal", Ticket("a")), ("high", Ticket("a", 5))]) == [
        "high", "normal", "low"]


def test_who_sends_many_waits_behind_himself():
    order = order_of([*((f"a{n}", Ticket("a")) for n in range(6)), ("b0", Ticket("b")), ("c0", Ticket("c")),
                      ("b1", Ticket("b"))])
    assert order[:3] == ["a0", "b0", "c0"] and order.index("b1") < 5 and order[-1] == "a5"


def test_the_queue_is_bounded_and_says_when_to_come_back():
    async def run():
        admission, gate = Admission(1, 4), asyncio.Event()
        admission.service_s = 10.0
        tasks = [asyncio.create_task(hold(admission, Ticket(str(n)), [], n, gate)) for n in range(5)]
        await settle()
        with pytest.raises(Busy, match="4 requests are waiting") as caught:
            await hold(admission, Ticket("late"), [], "late")
        assert caught.value.retry_after_s == 20
        gate.set()
        await asyncio.gather(*tasks)
        await hold(admission, Ticket("late"), [], "late")
    asyncio.run(run())


def test_one_client_gets_half_of_it():
    async def run():
        admission, gate = Admission(1, 4), asyncio.Event()
        tasks = [asyncio.create_task(hold(admission, Ticket("a"), [], n, gate)) for n in range(3)]
        await settle()
        with pytest.raises(Busy, match="2 requests of this client"):
            await hold(admission, Ticket("a"), [], "a")
        tasks.append(asyncio.create_task(hold(admission, Ticket("b"), [], "b", gate)))
        await settle()
        assert admission.waiting == 3
        gate.set()
        await asyncio.gather(*tasks)
    asyncio.run(run())


def test_deadlines_end_the_waiting():
    async def run():
        admission, gate, log = Admission(1, 4), asyncio.Event(), []
        first = asyncio.create_task(hold(admission, Ticket("a"), log, "first", gate))
        await settle()
        with pytest.raises(TooLate, match="while the request waited"):
            await hold(admission, Ticket("b", deadline=time.monotonic() + 0.05), log, "late")
        with pytest.raises(TooLate, match="before"):
            await hold(admission, Ticket("b", deadline=time.monotonic() - 1), log, "past")
        assert admission.waiting == 0
        gate.set()
        await first
        await hold(admission, Ticket("b", deadline=time.monotonic() + 5), log, "in time")
        assert log == ["first", "in time"] and admission.serving == 0
    asyncio.run(run())


def test_who_leaves_frees_the_place():
    async def run():
        admission, gate, log = Admission(1, 4), asyncio.Event(), []
        first = asyncio.create_task(hold(admission, Ticket("a"), log, "first", gate))
        await settle()
        ticket = Ticket("b")
        ticket.leave()  # waits nowhere yet
        waits = asyncio.create_task(hold(admission, ticket, log, "gone"))
        await settle()
        ticket.leave()
        with pytest.raises(Left):
            await waits
        gate.set()
        await first
        assert admission.serving == 0 and log == ["first"]
    asyncio.run(run())


def test_a_turn_that_comes_with_the_deadline_is_passed_on():
    async def run():
        admission, gate = Admission(1, 4), asyncio.Event()
        first = asyncio.create_task(hold(admission, Ticket("a"), [], "", gate))
        await settle()
        waits = asyncio.create_task(hold(admission, Ticket("b"), [], "b"))
        await settle()
        gate.set()
        while admission.waiting:
            await asyncio.sleep(0)
        waits.cancel()  # the turn is granted, and the request has not noticed yet
        await asyncio.gather(first, waits, return_exceptions=True)
        assert admission.serving == 0
    asyncio.run(run())


def test_nothing_is_lost_when_people_come_and_are_cancelled_at_random():
    async def run():
        rng, admission, served = random.Random(0), Admission(3, 20), []
        most = 0

        async def one(n):
            nonlocal most
            try:
                async with admission.turn(Ticket(str(n % 5), n % 3, time.monotonic() + rng.choice((0.001, 5)))):
                    most = max(most, admission.serving)
                    await asyncio.sleep(rng.random() / 500)
                    served.append(n)
            except (Busy, TooLate):
                served.append(n)
        tasks = []
        for n in range(600):
            tasks.append(asyncio.create_task(one(n)))
            if rng.random() < 0.3:
                rng.choice(tasks).cancel()
            if rng.random() < 0.5:
                await asyncio.sleep(0.001)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled = sum(isinstance(outcome, asyncio.CancelledError) for outcome in done)
        assert len(served) + cancelled >= 600 and all(d is None or isinstance(d, asyncio.CancelledError) for d in done)
        assert most == 3 and admission.serving == admission.waiting == 0
    asyncio.run(run())


def test_forgotten_clients_do_not_pile_up():
    async def run():
        admission = Admission(1, 10_000)
        gate = asyncio.Event()
        first = asyncio.create_task(hold(admission, Ticket("a"), [], "first", gate))
        await settle()
        tasks = [asyncio.create_task(hold(admission, Ticket(str(n)), [], n)) for n in range(3000)]
        await settle()
        gate.set()
        await asyncio.gather(first, *tasks)
        again = asyncio.create_task(hold(admission, Ticket("x"), [], "x", gate := asyncio.Event()))
        await settle()
        more = [asyncio.create_task(hold(admission, Ticket(f"y{n}"), [], n)) for n in range(10)]
        await settle()
        assert len(admission._last) < 1100
        gate.set()
        await asyncio.gather(again, *more)
    asyncio.run(run())
