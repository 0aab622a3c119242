"""Streets, addresses and deadlines, and delivery agents: nearest first, and one that plans.

Times are minutes after 08:00. Ways are found by A* (networkx), orders of stops by a constraint solver
(CP-SAT of OR-Tools): both are libraries; what is ours is saying what the goal is.
"""
from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Corner = tuple[int, int]
SIZE = 8                      # corners along each side of the town
FASTEST, SLOWEST = 4, 14      # minutes a street takes
ADDRESSES = ("bakery", "hospital", "library", "museum", "school", "station", "theatre", "harbour")
UNLOAD = 5                    # minutes at each stop


@dataclass(frozen=True)
class Order:
    """Deliver to `address` before `deadline` (minutes after 08:00)."""

    address: str
    deadline: int


@dataclass(frozen=True)
class TownPercept:
    """Where the van is, the time, the orders still in it, and the map of the town.

    Orders are `Order`s, or, when people only send messages, the texts of those.
    """

    at: Corner
    minute: int
    orders: tuple[Any, ...]
    town: Town


class Town:
    """A street grid with some streets closed, and orders for one day. Action: the address to drive to next.

    messages: {text: Order}; the van then carries parcels whose orders it knows only as texts.
    Traffic makes each drive up to 20 % slower than the map says.
    """

    def __init__(self, seed: int = 0, messages: Mapping[str, Order] | None = None, stops: int = 6):
        import networkx as nx

        chance = self.random = random.Random(seed)
        self.streets = nx.grid_2d_graph(SIZE, SIZE)
        for *_, street in self.streets.edges(data=True):
            street["minutes"] = chance.randint(FASTEST, SLOWEST)
        for edge in chance.sample(sorted(self.streets.edges), 24):
            self.streets.remove_edge(*edge)
            if not nx.is_connected(self.streets):
                self.streets.add_edge(*edge, minutes=SLOWEST)
        corners = _apart(chance.sample(sorted(self.streets), SIZE * SIZE))
        self.depot, self.where = corners[0], dict(zip(ADDRESSES, corners[1:], strict=True))
        self.orders = self._orders(messages, stops)
        self.at, self.minute, self.on_time = self.depot, 0, 0
        self.waiting, self.route = dict(self.orders), [self.depot]
        self.visits: dict[str, int] = {}  # address: minute of its first visit

    def _orders(self, messages, stops: int) -> dict[Any, Order]:
        """{what the agent sees: the order}, one per address. Without messages a tour meets all deadlines."""
        if messages:
            texts = self.random.sample(sorted(messages), len(messages))
            first = {messages[text].address: text for text in texts}
            return {text: messages[text] for text in list(first.values())[:stops]}
        tour, at, minute, orders = self.random.sample(ADDRESSES, stops), self.depot, 0, []
        for address in tour:
            minute += self.minutes(at, self.where[address]) + UNLOAD
            at = self.where[address]
            orders.append(Order(address, int(minute * 1.25) + 10))
        return {order: order for order in sorted(orders, key=lambda order: order.address)}

    def way(self, start: Corner, goal: Corner) -> list[Corner]:
        """The fastest way by A*. The guess (corners still to pass, each at the fastest) never is too high."""
        import networkx as nx

        def at_least(a: Corner, b: Corner) -> int:
            return FASTEST * (abs(a[0] - b[0]) + abs(a[1] - b[1]))

        return nx.astar_path(self.streets, start, goal, heuristic=at_least, weight="minutes")

    def minutes(self, start: Corner, goal: Corner) -> int:
        way = self.way(start, goal)
        return sum(self.streets[a][b]["minutes"] for a, b in zip(way, way[1:], strict=False))

    def percept(self) -> TownPercept:
        return TownPercept(self.at, self.minute, tuple(self.waiting), self)

    def step(self, action: str) -> None:
        """Drive there; who waits there takes what is theirs. A drive for nothing costs its time."""
        if action not in self.where:
            raise ValueError(f"This town knows {', '.join(ADDRESSES)}; not {action!r}")
        goal = self.where[action]
        self.minute += round(self.minutes(self.at, goal) * self.random.uniform(1.0, 1.2)) + UNLOAD
        self.route += self.way(self.at, goal)[1:]
        self.at = goal
        self.visits.setdefault(action, self.minute)
        for key in [key for key, order in self.waiting.items() if order.address == action]:
            self.on_time += self.waiting.pop(key).deadline >= self.minute

    def score(self) -> float:
        """Deliveries on time, as a share of the most that could be on time without traffic."""
        orders = list(self.orders.values())
        best = sum(arrive <= order.deadline for order, arrive in plan(self, self.depot, 0, orders))
        return min(1.0, self.on_time / best) if best else 1.0


def plan(town: Town, at: Corner, minute: int, orders: Sequence[Order],
         slack: float = 1.0) -> list[tuple[Order, int]]:
    """The best order of stops, with arrival times: most on time first, then the earliest finish.

    slack: factor on driving times, to leave room for traffic.
    A constraint model: one yes/no variable per possible drive, which together form one tour.
    """
    from ortools.sat.python import cp_model

    if not orders:
        return []
    places = [at, *(town.where[order.address] for order in orders)]
    model, n = cp_model.CpModel(), len(places)
    arrive = [model.new_int_var(minute, 10_000, f"arrive {i}") for i in range(n)]
    model.add(arrive[0] == minute)
    drives = {(i, j): model.new_bool_var(f"{i} to {j}") for i in range(n) for j in range(n) if i != j}
    model.add_circuit([(i, j, drive) for (i, j), drive in drives.items()])
    for (i, j), drive in drives.items():
        if j:  # the drive back to the start closes the tour and costs nothing
            cost = round(town.minutes(places[i], places[j]) * slack) + UNLOAD
            model.add(arrive[j] >= arrive[i] + cost).only_enforce_if(drive)
    late = [model.new_bool_var(f"late {i}") for i in range(n)]
    for i, order in enumerate(orders, start=1):
        model.add(arrive[i] <= order.deadline).only_enforce_if(~late[i])
    model.minimize(10_000 * sum(late[1:]) + sum(arrive))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers, solver.parameters.random_seed = 1, 0
    solver.solve(model)
    stops = [(order, solver.value(arrive[i])) for i, order in enumerate(orders, start=1)]
    return sorted(stops, key=lambda stop: stop[1])


def _apart(corners: Sequence[Corner]) -> list[Corner]:
    """The first corners of which no two are neighbours, for the depot and each address."""
    chosen: list[Corner] = []
    for x, y in corners:
        if all(max(abs(x - a), abs(y - b)) > 1 for a, b in chosen):
            chosen.append((x, y))
    return chosen[:len(ADDRESSES) + 1]


class RandomCourier:
    """Takes the parcels as they lie in the van."""

    def __init__(self, seed: int = 0):
        self.random = random.Random(seed)

    def act(self, percept: TownPercept) -> str | None:
        return self.random.choice(percept.orders).address if percept.orders else None


class NearestCourier:
    """Reflex: always the nearest open address. It looks one step ahead and at no deadline."""

    def act(self, percept: TownPercept) -> str | None:
        town = percept.town
        left = sorted({order.address for order in percept.orders})
        return min(left, key=lambda name: town.minutes(percept.at, town.where[name]), default=None)


class PlanningCourier:
    """Plans the whole tour before each drive, and drives its first leg.

    read: a function from a message to an Order (None: cannot tell), for towns where orders are texts.
    """

    def __init__(self, read: Callable[[str], Order] | None = None, slack: float = 1.1):
        self.read, self.slack = read, slack
        self.tried: set[Any] = set()

    def act(self, percept: TownPercept) -> str | None:
        """Each parcel is tried once: a wrong address cannot be known before the door."""
        goals = {key: self.read(key) if self.read else key for key in percept.orders if key not in self.tried}
        goals = {key: goal for key, goal in goals.items() if goal}
        stops = plan(percept.town, percept.at, percept.minute, list(goals.values()), self.slack)
        if not stops:
            return None
        address = stops[0][0].address
        self.tried |= {key for key, goal in goals.items() if goal.address == address}
        return address


def clock(minute: int) -> str:
    """Minutes after 08:00 as a time of day."""
    return f"{8 + minute // 60:02d}:{minute % 60:02d}"


def draw(towns: Mapping[str, Town]) -> Any:
    """A map per town: streets (thicker is faster), addresses with deadlines, the way driven so far."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(towns), 4.8), layout="constrained")
    axes = figure.subplots(1, len(towns), squeeze=False)[0]
    for axis, (name, town) in zip(axes, towns.items(), strict=True):
        _draw_map(axis, town)
        axis.set_title(f"{name}: {town.on_time} of {len(town.orders)} on time", fontsize=10, loc="left")
    return figure


def _draw_map(axis, town: Town) -> None:
    for a, b, street in town.streets.edges(data=True):
        axis.plot(*zip(a, b, strict=True), color="0.78", lw=0.5 + 12 / street["minutes"], ls="-", marker="")
    way = [(x + 0.07, y - 0.07) for x, y in town.route]
    axis.plot(*zip(*way, strict=True), color="black", ls="-", marker="", lw=1.6, zorder=3)
    due = {order.address: f"\ndue {clock(order.deadline)}" for order in town.orders.values()}
    for number, (name, minute) in enumerate(town.visits.items(), start=1):
        due[name] = f"{due.get(name, '')}\n{number}. at {clock(minute)}"
    for name, corner in {"depot": town.depot, **town.where}.items():
        marker, fill = ("D", "black") if name == "depot" else ("s" if name in due else "o", "white")
        axis.plot(*corner, marker, mfc=fill, mec="black", ms=7, zorder=4)
        label = axis.annotate(name + due.get(name, ""), corner, xytext=(5, 5), textcoords="offset points",
                              fontsize=8, zorder=5)
        label.set_bbox({"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.3})
        label.set_in_layout(False)
    axis.set(xticks=[], yticks=[], aspect="equal", xlim=(-0.4, SIZE + 0.3), ylim=(-0.4, SIZE + 0.1))
    axis.spines[:].set_visible(False)
