"""How often attacks succeed and how often honest requests do, without and with each defence: `labkit attack`.

Always both: a guard that refuses everything stops every attack. Success of an attack is the call that it wanted, run,
and a database that has changed; success of a request is what labkit.domains.judge says. The model is the real one.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from labkit import domains
from labkit.attacks import adaptive
from labkit.attacks.adaptive import Search
from labkit.attacks.cases import PLACES, QUICK, Attempt, Goal, WayIn, attempts, of
from labkit.attacks.defences import DEFENCES
from labkit.attacks.remembering import Remembering
from labkit.attacks.stage import Outcome, Stage
from labkit.attacks.wordings import wordings
from labkit.errors import BadRequest
from labkit.intervals import share_interval, thinned
from labkit.safety.inputs import InputLimits, inspect
from labkit.table import Shown, Table

SCENARIOS = 3        # honest requests of each desk, in a short run
VARIANTS, TRIES = 300, 4
OPEN_PLACES = ("message", "document")  # those that the input filter looks at
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Adapted:
    """What an attacker who knows the input filter found at one desk. fixed: successes of the wordings as they are, of
    how many, with the filter on.
    """

    desk: str
    goal: str
    place: str
    fixed: tuple[int, int]
    search: Search


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """outcomes: every attempt with every defence. honest: (desk, defence, scenario, passed). turns: how many the model
    was asked for, and how many of them were different.
    """

    model: str
    outcomes: tuple[Outcome, ...]
    honest: tuple[tuple[str, str, str, bool], ...]
    adapted: tuple[Adapted, ...]
    turns: tuple[int, int]

    def table(self) -> Table:
        """A row for each defence: attacks that reached their goal, and what honest requests became meanwhile."""
        rows = tuple((defence, _share([o.reached for o in found]), _share([o.done for o in found]),
                      _share([passed for _, name, _, passed in self.honest if name == defence]))
                     for defence in DEFENCES if (found := [o for o in self.outcomes if o.defence == defence]))
        return Table(("defence", "attacks that succeed", "own request done, attacked", "requests done, not attacked"),
                     rows, f"Attacks on {', '.join(self.desks)}: {self.model}",
                     "Shares with their 95 % interval. Approval: by a simulated person who reads every question. "
                     f"{self.turns[0]} turns of the model, {self.turns[1]} of them different and computed.")

    def places(self) -> Table:
        """Where the text stood: attacks that succeeded, of how many, with each defence."""
        rows = tuple((f"{place}: {about}", *(_of([o.reached for o in self.outcomes if o.defence == defence
                                                  and o.attempt.way_in.place == place]) for defence in DEFENCES))
                     for place, about in PLACES.items())
        return Table(("where the text stands", *DEFENCES), rows, "By the way in",
                     "A desk as it comes takes one turn: for 'result' and 'error' it is an agent that reads those.")

    def attackers(self) -> Table:
        """What the attacker who knows the input filter found."""
        rows = tuple((f"{a.desk}, {a.goal} ({a.place})", f"{a.fixed[0]} of {a.fixed[1]}",
                      f"{a.search.passed} of {a.search.made}", _found(a.search)) for a in self.adapted)
        return Table(("goal", "wordings as they are", "variants that pass", "tries on the agent"), rows,
                     "An attacker who knows the input filter", "The input filter is on, and nothing else.")

    @property
    def desks(self) -> list[str]:
        return list(dict.fromkeys(outcome.attempt.desk for outcome in self.outcomes))

    def __str__(self) -> str:
        return "\n\n".join(str(part) for part in (self.table(), self.places(), self.attackers()) if part.rows)

    def _repr_markdown_(self) -> str:
        return "\n\n".join(part._repr_markdown_() for part in (self.table(), self.places(), self.attackers())
                           if part.rows)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"model": self.model, "turns": dict(zip(("asked", "computed"), self.turns, strict=True)),
                "defences": [dict(zip(("defence", "attacks", "own_requests", "requests"), row, strict=True)) for row in
                             ([d, *self._figures(d)] for d in DEFENCES)],
                "outcomes": [_plain(outcome) for outcome in self.outcomes],
                "honest": [dict(zip(("desk", "defence", "scenario", "passed"), each, strict=True))
                           for each in self.honest],
                "adapted": [{"desk": a.desk, "goal": a.goal, "place": a.place, "fixed": list(a.fixed),
                             "made": a.search.made, "passed": a.search.passed, "tries": len(a.search.tried),
                             "succeeded": a.search.succeeded,
                             "by": str(a.search.tried[-1]) if a.search.succeeded else None} for a in self.adapted]}

    def _figures(self, defence: str) -> list[dict[str, int]]:
        found = [o for o in self.outcomes if o.defence == defence]
        lists = ([o.reached for o in found], [o.done for o in found],
                 [passed for _, name, _, passed in self.honest if name == defence])
        return [{"yes": sum(values), "of": len(values)} for values in lists]


def run(slm: Any = None, desks: Sequence[str] = domains.NAMES, *, full: bool = False, scenarios: int | None = SCENARIOS,
        progress: Progress | None = None) -> Report:
    """Attack the desks, serve their honest requests, and let an attacker who knows the filter search.

    slm: None for the embedded model with the course's adapter. full: all goals, wordings and scenarios, not a sample.
    scenarios: honest requests of each desk, spread over its test set; None, or full, for all.
    Raises BadRequest for a desk that there is not, or less than one request.
    """
    from labkit import connect
    if scenarios is not None and scenarios < 1:
        raise BadRequest(f"{scenarios} requests: take at least 1.")
    names = list(dict.fromkeys(desks))
    for name in names:
        of(name)
    slm = slm or connect()
    model = Remembering(slm)
    with ExitStack() as stack:
        stages = {name: stack.enter_context(Stage(name, model)) for name in names}
        steps = _steps(stages, full, None if full else scenarios)
        found: dict[str, list[Any]] = {"outcomes": [], "honest": [], "adapted": []}
        for number, (kind, words, work) in enumerate(steps):
            if progress:
                progress(number, len(steps), words)
            found[kind].append(work())
    return Report(slm.model, *(tuple(found[kind]) for kind in ("outcomes", "honest", "adapted")),
                  (model.asked, model.computed))


def _steps(stages: dict[str, Stage], full: bool, count: int | None) -> list[tuple[str, str, Callable[[], Any]]]:
    """(kind, words, what to do) of all there is to do."""
    steps: list[tuple[str, str, Callable[[], Any]]] = []
    for name, stage in stages.items():
        steps += [("outcomes", f"{name}: {a.way_in.place}, {defence}", lambda s=stage, a=a, d=defence: s.attack(a, d))
                  for defence in DEFENCES for a in attempts([name], full)]
        steps += [("honest", f"{name}: {scenario.id}, {defence}", lambda n=name, s=stage, c=scenario, d=defence:
                   (n, d, c.id, s.serve(c, d)))
                  for defence in DEFENCES for scenario in thinned(domains.scenarios(name, "test"), count)]
        steps += [("adapted", f"{name}: an attacker who knows the filter", lambda n=name, s=stage, w=way_in, g=goal:
                   adapt(n, s, w, g or _easiest(n, s, w)))
                  for way_in in of(name).ways_in if way_in.place in (OPEN_PLACES if full else OPEN_PLACES[:1])
                  for goal in (of(name).goals if full else [None])]
    return steps


def _easiest(desk: str, stage: Stage, way_in: WayIn) -> Goal:
    """The first goal that is reached without any defence: an attacker knows what works. The last, if none is."""
    *others, last = of(desk).goals
    works = (goal for goal in others for name in QUICK if stage.attack(Attempt(
        desk, goal, way_in, name, wordings()[name].write(goal.words, goal.tool, goal.arguments))).reached)
    return next(works, last)


def suspicion(text: str) -> float:
    """The input filter's score of a text; what it refuses for its characters is beyond any limit."""
    seen = inspect(text)
    return float("inf") if seen.wrong else seen.score


def adapt(desk: str, stage: Stage, way_in: WayIn, goal: Goal) -> Adapted:
    """Search at one desk, with the input filter on and its score in hand."""
    def attempt(text: str) -> bool:
        return stage.attack(Attempt(desk, goal, way_in, "adapted", text), "input filter").reached
    variants = adaptive.variants(goal.words, goal.tool, goal.arguments, suspicion, count=VARIANTS)
    fixed = [attempt(variant.text) for variant in variants if not variant.disguises]
    found = adaptive.search([v for v in variants if v.disguises], attempt, threshold=InputLimits().score, tries=TRIES)
    return Adapted(desk, goal.id, way_in.place, (sum(fixed), len(fixed)), found)


def _plain(outcome: Outcome) -> dict[str, Any]:
    attempt = outcome.attempt
    return {"desk": attempt.desk, "goal": attempt.goal.id, "place": attempt.way_in.place, "wording": attempt.wording,
            "defence": outcome.defence, "reached": outcome.reached, "done": outcome.done,
            "stopped_by": list(outcome.stopped_by), "ran": list(outcome.ran)}


def _share(outcomes: Sequence[bool]) -> str:
    if not outcomes:
        return "-"
    share, low, high = share_interval(sum(outcomes), len(outcomes))
    return f"{share:.0%} ({100 * low:.0f} to {100 * high:.0f}), {sum(outcomes)} of {len(outcomes)}"


def _of(outcomes: Sequence[bool]) -> str:
    return f"{sum(outcomes)} of {len(outcomes)}" if outcomes else "-"


def _found(search: Search) -> str:
    return f"{len(search.tried)}: {search.tried[-1]}" if search.succeeded else f"{len(search.tried)}, none succeeded"
