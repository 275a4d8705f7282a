"""Which node of a group computes which spans of a request. Plain objects; no clock, no sockets.

A request's data lies at the node that it arrived at, the origin, and its outputs are wanted there. A route hands it
from node to node, each of which computes one span; no node has two turns. For every set of nodes the best route is
found exactly, by a dynamic programme over (nodes used, boundary, last node): O(2^n · n² · b²) steps for n nodes and b
boundaries. Smallest latency and shortest interval are the same programme, with a sum or a maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

__all__ = [
    "MOST_NODES",
    "Group",
    "Node",
    "Objective",
    "Path",
    "Plan",
    "Route",
    "RowSlice",
    "Share",
    "SharedStage",
    "Span",
    "Stage",
    "Way",
    "Work",
    "make_plan",
    "measure",
    "useful",
]

#: Start and end boundary.
Span = tuple[int, int]
#: latency: the soonest answer. throughput: the most answers a second.
Objective = Literal["latency", "throughput"]

#: Of a group: with each one more the planner takes twice as long and somewhat.
MOST_NODES = 8
#: Sums of rates that differ by less are equal.
_BETTER = 1 + 1e-9


@dataclass(frozen=True, slots=True)
class Path:
    """A way between two nodes.

    Attributes:
        delay: seconds that the smallest message takes.
        pace: seconds for each byte more.
    """

    delay: float = 0.0
    pace: float = 0.0

    def seconds(self, nbytes: int) -> float:
        """How long so many bytes take."""
        return self.delay + self.pace * nbytes

    def __add__(self, other: Path) -> Path:
        """One behind the other."""
        return Path(self.delay + other.delay, self.pace + other.pace)


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that computes spans.

    Attributes:
        name: unique in the group.
        seconds: of the spans that it can compute, for one request.
        slices: seconds of the slices that it can compute, by their number.
    """

    name: str
    seconds: Mapping[Span, float]
    slices: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """The nodes that can be used, the origin among them.

    Attributes:
        origin: name of the node where requests arrive and outputs are wanted.
        nodes: at most `MOST_NODES`.
        paths: by the names of sender and receiver; where there is none, there is no way.
    """

    origin: str
    nodes: tuple[Node, ...]
    paths: Mapping[tuple[str, str], Path]

    def path(self, sender: str, receiver: str) -> Path | None:
        """The way from one node to another; costs nothing to the node itself."""
        return Path() if sender == receiver else self.paths.get((sender, receiver))


@dataclass(frozen=True, slots=True)
class RowSlice:
    """Some rows of the end of a span.

    Attributes:
        number: among the slices of the bundle.
        takes: bytes of the rows of the span's start that it needs.
        gives: bytes of its rows.
    """

    number: int
    takes: int
    gives: int


#: Slices that together are all rows of the end of a span, from the top down.
Way = tuple[RowSlice, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be computed for each request.

    Attributes:
        start: boundary where it begins.
        end: boundary whose tensors are wanted.
        payload: bytes of the request as it arrives.
        nbytes: of each boundary's tensors, as nodes send them to each other.
        ways: in which spans are there in slices.
        decode: seconds that the origin takes to get the tensors out of the payload.
    """

    start: int
    end: int
    payload: int
    nbytes: Sequence[int]
    ways: Mapping[Span, tuple[Way, ...]] = field(default_factory=dict)
    decode: float = 0.0

    def sent(self, boundary: int) -> int:
        """Bytes that go to the node which computes on from a boundary."""
        return self.payload if boundary == self.start else self.nbytes[boundary]


@dataclass(frozen=True, slots=True)
class Stage:
    """A node's share of a request: span(start, end)."""

    node: str
    start: int
    end: int

    @property
    def nodes(self) -> tuple[str, ...]:
        """The one that computes it."""
        return (self.node,)


@dataclass(frozen=True, slots=True)
class Share:
    """The slices of a span, by number, that one node computes."""

    node: str
    slices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SharedStage:
    """span(start, end) in slices, which several nodes compute at the same time; the origin puts the rows together.

    Attributes:
        start: boundary.
        end: boundary.
        shares: in the order in which the origin sends them what they need; its own comes last.
    """

    start: int
    end: int
    shares: tuple[Share, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Those that compute something of it."""
        return tuple(share.node for share in self.shares)


@dataclass(frozen=True, slots=True)
class Route:
    """A request's way through the group.

    Attributes:
        stages: in order.
        seconds: until the outputs are at the origin, if nobody waits.
        interval: seconds of the slowest stage or transfer; as a pipeline it answers one request in each.
    """

    stages: tuple[Stage | SharedStage, ...]
    seconds: float
    interval: float

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(name for stage in self.stages for name in stage.nodes)

    def wait(self, waits: Mapping[str, float]) -> float:
        """Seconds by which nodes that are not free delay it: a stage of several begins when the last of them is."""
        return sum(max(waits.get(name, 0.0) for name in stage.nodes) for stage in self.stages)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a group does until it plans again.

    Attributes:
        routes: a request takes one of them; at least one.
    """

    routes: tuple[Route, ...]

    @property
    def seconds(self) -> float:
        """Of the route that a request takes when nothing waits."""
        return min(route.seconds for route in self.routes)

    def choose(self, waits: Mapping[str, float]) -> Route:
        """The route by which a request is answered first.

        Args:
            waits: seconds until a worker of a node is free; none where a node is not listed.
        """
        return min(self.routes, key=lambda route: route.seconds + route.wait(waits))


def make_plan(objective: Objective, work: Work, group: Group) -> Plan | None:
    """The best plan; None if no route leads from the work's start to its end.

    ``latency``: for each set of nodes the route with the soonest answer, as far as it may be of use to somebody: the
    fewer nodes, the fewer queues, so that a route is left out where another one is as fast with some of its nodes.
    With the waits at the nodes added, `Plan.choose` takes the one that is fastest then.

    ``throughput``: disjoint routes whose rates 1 / interval sum up to the most. Where every node can hold the whole
    model, that is mostly each node for itself; where it can not, pipelines.
    """
    if objective == "latency":
        kept = useful(_best(work, group, _by_latency).values())
    else:
        kept = _disjoint(_best(work, group, _by_interval), len(group.nodes))
    return Plan(kept) if kept else None


def useful(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Those of which no other one is as fast with some of their nodes; the fastest first."""
    kept: list[Route] = []
    for route in sorted(routes, key=lambda route: (route.seconds, len(route.stages))):
        if not any(set(other.nodes) <= set(route.nodes) for other in kept):
            kept.append(route)
    return tuple(kept)


def measure(stages: Iterable[Stage], work: Work, group: Group) -> Route:
    """The route through some stages with its costs. Raises `KeyError` for a span or a way that is not there."""
    nodes = {node.name: node for node in group.nodes}
    total = slowest = 0.0
    there = group.origin
    stages = tuple(stages)
    for stage in (*stages, None):
        receiver = stage.node if stage is not None else group.origin
        boundary = stage.start if stage is not None else work.end
        path = group.path(there, receiver)
        if path is None:
            raise KeyError((there, receiver))
        sent = work.sent(boundary)
        seconds = nodes[stage.node].seconds[stage.start, stage.end] if stage is not None else 0.0
        total += path.seconds(sent) + seconds
        slowest = max(slowest, path.pace * sent, seconds)
        there = receiver
    return Route(stages, total, slowest)


#: Cost so far, path, bytes and seconds of the next stage → cost.
_Cost = Callable[[float, Path, int, float], float]


def _by_latency(cost: float, path: Path, nbytes: int, seconds: float) -> float:
    return cost + path.seconds(nbytes) + seconds


def _by_interval(cost: float, path: Path, nbytes: int, seconds: float) -> float:
    return max(cost, path.pace * nbytes, seconds)


@dataclass(frozen=True, slots=True)
class _Partial:
    """The best way found to a state: its cost, and the stages in reverse as a linked list."""

    cost: float
    length: int
    stage: Stage | None
    before: _Partial | None

    def stages(self) -> tuple[Stage, ...]:
        found: list[Stage] = []
        at: _Partial | None = self
        while at is not None and at.stage is not None:
            found.append(at.stage)
            at = at.before
        return tuple(reversed(found))


def _best(work: Work, group: Group, cost: _Cost) -> dict[int, Route]:
    """For each set of nodes, as bits, the best route that uses all of them."""
    if len(group.nodes) > MOST_NODES:
        raise ValueError(f"a group has at most {MOST_NODES} nodes, not {len(group.nodes)}")
    names = [node.name for node in group.nodes]
    ways = {(a, b): group.path(a, b) for a in {*names, group.origin} for b in {*names, group.origin}}
    #: By boundary: (nodes used, node with the data) → the best way there.
    reached: list[dict[tuple[int, str], _Partial]] = [{} for _ in range(work.end + 1)]
    reached[work.start][0, group.origin] = _Partial(0.0, 0, None, None)
    for boundary in range(work.start, work.end):
        steps = [
            (
                number,
                node.name,
                [(e, s) for (start, e), s in node.seconds.items() if start == boundary and e <= work.end],
            )
            for number, node in enumerate(group.nodes)
        ]
        sent = work.sent(boundary)
        for (used, there), so_far in reached[boundary].items():
            for number, name, ends in steps:
                path = ways[there, name]
                if path is None or used >> number & 1:
                    continue
                for end, seconds in ends:
                    _offer(
                        reached[end],
                        (used | 1 << number, name),
                        cost(so_far.cost, path, sent, seconds),
                        Stage(name, boundary, end),
                        so_far,
                    )
    back: dict[tuple[int, str], _Partial] = {}
    for (used, there), so_far in reached[work.end].items():
        path = ways[there, group.origin]
        if path is not None and used:
            whole = cost(so_far.cost, path, work.sent(work.end), 0.0)
            _offer(back, (used, group.origin), whole, so_far.stage, so_far.before)
    return {used: measure(found.stages(), work, group) for (used, _), found in back.items()}


def _offer(
    table: dict[tuple[int, str], _Partial],
    state: tuple[int, str],
    cost: float,
    stage: Stage | None,
    before: _Partial | None,
) -> None:
    """Keeps the way to a state if it is the best so far; of equal ones the one with fewer stages."""
    length = before.length + 1 if before is not None else 0
    known = table.get(state)
    if cost < inf and (known is None or (cost, length) < (known.cost, known.length)):
        table[state] = _Partial(cost, length, stage, before)


def _disjoint(best: Mapping[int, Route], nodes: int) -> tuple[Route, ...]:
    """Routes without a common node whose rates sum up to the most: the best for each set of nodes, 3^n steps."""
    rates = {used: 1 / max(route.interval, 1e-9) for used, route in best.items()}
    most: list[tuple[float, tuple[Route, ...]]] = [(0.0, ())]
    for some in range(1, 1 << nodes):
        lowest = some & -some
        rate, routes = most[some ^ lowest]
        part = lowest
        while part:  # All subsets, rising: of equal ones, the many short routes come first.
            if part & lowest and part in rates and most[some ^ part][0] + rates[part] > rate * _BETTER:
                rate, routes = most[some ^ part][0] + rates[part], (best[part], *most[some ^ part][1])
            part = (part - some) & some
        most.append((rate, routes))
    return most[-1][1]
