"""Which nodes compute which slices of one request. Plain objects; no clock, no sockets.

A span that the bundle holds in slices can be computed by several nodes at the same time: the origin sends each the rows
that its slices need, and puts the rows together that come back. One stage of this kind, or several with a joining in
between, compete with the routes of the planner, for every set of nodes; the fastest way is found exactly.

The origin's link carries one thing at a time each way, as in the one-port model of divisible loads (Bharadwaj et al.,
Cluster Computing 6, 2003): it serves the node first that will then take longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import inf
from operator import itemgetter

from cutpoint.server.nodes.planner import (
    Group,
    Path,
    Plan,
    Route,
    RowSlice,
    Share,
    SharedStage,
    Span,
    Stage,
    Way,
    Work,
    useful,
)

__all__ = ["MOST_SHARING", "find_ways", "measure_shared", "share_out"]

#: Nodes that share one span at most, the origin and the fastest others: each seam costs all of them.
MOST_SHARING = 4
#: Slices of a way, and ways of cutting a span, that are looked at at most: those with the fewest slices.
_MOST_SLICES, _MOST_WAYS = 6, 32
#: Assignments of slices to nodes that are looked at for a span: some ten milliseconds.
_MOST_ASSIGNMENTS = 1000


def find_ways(slices: Mapping[tuple[int, int], RowSlice], height: int) -> tuple[Way, ...]:
    """The ways of putting all rows of a tensor together from slices, those with the fewest first.

    Args:
        slices: by the first row and the one behind the last.
        height: rows of the tensor.
    """
    found: list[Way] = []
    begun: list[tuple[int, Way]] = [(0, ())]
    for _ in range(_MOST_SLICES):
        longer = []
        for at, way in begun:
            for (first, stop), piece in sorted(slices.items()):
                if first == at:
                    longer.append((stop, (*way, piece)))
        found += [way for at, way in longer if at == height]
        begun = [(at, way) for at, way in longer if at < height][: _MOST_WAYS**2]
    return tuple(found[:_MOST_WAYS])


def share_out(plan: Plan | None, work: Work, group: Group) -> Plan | None:
    """The plan with the routes that share spans, as far as they are faster than its own.

    Args:
        plan: for the soonest answer; None if there is no route without slices.
        work: as the plan's.
        group: as the plan's.
    """
    if not any(work.ways.values()):
        return plan
    routes = [] if plan is None else list(plan.routes)
    sharing = _sharing(group)
    steps = {
        span: [step for way in _within_reason(ways, len(sharing)) for step in _shares(way, span, group, sharing)]
        for span, ways in work.ways.items()
    }
    for count in range(2, len(sharing) + 1):
        for names in combinations(sharing, count):
            if (route := _best(work, group, frozenset(names), steps)) is not None:
                routes.append(route)
    return Plan(useful(routes)) if routes else None


def measure_shared(stage: SharedStage, way: Way, group: Group) -> float:
    """Seconds from the origin having the tensors of the stage's start until it has all rows of its end.

    Raises:
        KeyError: if a node does not have a slice, or there is no way to it.
    """
    seconds = {node.name: node.slices for node in group.nodes}
    pieces = {piece.number: piece for piece in way}
    sent = done = 0.0
    computed: list[tuple[float, Path, int]] = []
    for share in stage.shares:
        free = 0.0
        if share.node == group.origin:
            done = max(done, sum(seconds[share.node][number] for number in share.slices))
            continue
        there, back = group.paths[group.origin, share.node], group.paths[share.node, group.origin]
        for number in share.slices:
            sent += there.pace * pieces[number].takes
            free = max(free, sent + there.delay) + seconds[share.node][number]
            computed.append((free, back, pieces[number].gives))
    computed.sort(key=itemgetter(0))
    received = 0.0
    for at, back, nbytes in computed:
        received = max(received, at) + back.pace * nbytes
        done = max(done, received + back.delay)
    return done


@dataclass(frozen=True, slots=True)
class _Step:
    """A way from one boundary to a later one, from the origin and back to it."""

    stage: Stage | SharedStage
    seconds: float


def _within_reason(ways: Iterable[Way], nodes: int) -> Iterator[Way]:
    """The first of some ways, as far as that many nodes can be assigned to their slices in reasonable time."""
    left = _MOST_ASSIGNMENTS
    for way in ways:
        left -= nodes ** len(way)
        if left < 0:
            return
        yield way


def _sharing(group: Group) -> list[str]:
    """The origin, if it has slices, and the others that it can reach, by the mean seconds of theirs."""
    means = {node.name: sum(node.slices.values()) / len(node.slices) for node in group.nodes if node.slices}
    there = [name for name in means if group.path(group.origin, name) and group.path(name, group.origin)]
    others = sorted((name for name in there if name != group.origin), key=means.__getitem__)
    own = [group.origin] if group.origin in means else []
    return [*own, *others][:MOST_SHARING]


def _best(work: Work, group: Group, names: frozenset[str], shared: Mapping[Span, Sequence[_Step]]) -> Route | None:
    """The fastest route that shares a span, with some of these nodes: the shortest path over the boundaries.

    Between two stages everything is at the origin; nodes may have several turns.
    """
    #: By boundary and whether a span was shared on the way: seconds, and the steps.
    reached: dict[tuple[int, bool], tuple[float, tuple[_Step, ...]]] = {(work.start, False): (0.0, ())}
    for boundary in range(work.start, work.end):
        steps = list(_steps(work, group, names, boundary, shared))
        for so_far in (False, True):
            if (boundary, so_far) not in reached:
                continue
            seconds, before = reached[boundary, so_far]
            for step in steps:
                key = step.stage.end, so_far or isinstance(step.stage, SharedStage)
                total = seconds + step.seconds
                if total < reached.get(key, (inf, ()))[0]:
                    reached[key] = total, (*before, step)
    if (work.end, True) not in reached:
        return None
    seconds, taken = reached[work.end, True]
    return Route(tuple(step.stage for step in taken), seconds, max(step.seconds for step in taken))


def _steps(
    work: Work, group: Group, names: frozenset[str], start: int, shared: Mapping[Span, Sequence[_Step]]
) -> Iterator[_Step]:
    """The fastest step to each later boundary, by one node and by several."""
    for end in range(start + 1, work.end + 1):
        alone = []
        for node in group.nodes:
            there, back = group.path(group.origin, node.name), group.path(node.name, group.origin)
            if node.name in names and (start, end) in node.seconds and there is not None and back is not None:
                way = there.seconds(work.sent(start)) + back.seconds(work.sent(end))
                alone.append(_Step(Stage(node.name, start, end), way + node.seconds[start, end]))
        if alone:
            yield min(alone, key=lambda step: step.seconds)
        together = [step for step in shared.get((start, end), ()) if names.issuperset(step.stage.nodes)]
        if together:
            best = min(together, key=lambda step: step.seconds)
            yield _Step(best.stage, best.seconds + (work.decode if start == work.start else 0.0))


def _shares(way: Way, span: Span, group: Group, names: Sequence[str]) -> Iterable[_Step]:
    """For every set of at least two nodes the fastest assignment of a way's slices to them.

    All are looked at, but for those in which one node alone computes as long as the best one takes as a whole.
    """
    seconds = {node.name: node.slices for node in group.nodes if node.name in names}
    able = [[name for name in names if piece.number in seconds[name]] for piece in way]
    best: dict[frozenset[str], _Step] = {}
    for nodes in product(*able):
        loads: dict[str, float] = {}
        for name, piece in zip(nodes, way, strict=True):
            loads[name] = loads.get(name, 0.0) + seconds[name][piece.number]
        key = frozenset(loads)
        if len(key) < 2 or (key in best and max(loads.values()) >= best[key].seconds):
            continue
        # Who will take longest is served first, and the origin, which needs nothing sent, is last.
        order = sorted(loads, key=lambda name: (name == group.origin, -loads[name], name))
        shares = tuple(
            Share(name, tuple(piece.number for at, piece in zip(nodes, way, strict=True) if at == name))
            for name in order
        )
        stage = SharedStage(*span, shares)
        total = measure_shared(stage, way, group)
        if key not in best or total < best[key].seconds:
            best[key] = _Step(stage, total)
    return best.values()
