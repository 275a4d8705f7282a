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
from itertools import combinations
from math import inf

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
    if not work.ways:
        return plan
    routes = [] if plan is None else list(plan.routes)
    sharing = _sharing(work, group)
    for count in range(2, len(sharing) + 1):
        for names in combinations(sharing, count):
            if (route := _best(work, group, names)) is not None:
                routes.append(route)
    return Plan(useful(routes)) if routes else None


def measure_shared(stage: SharedStage, way: Way, group: Group) -> float:
    """Seconds from the origin having the tensors of the stage's start until it has all rows of its end.

    Raises:
        KeyError: if a node does not have a slice, or there is no way to it.
    """
    nodes = {node.name: node for node in group.nodes}
    pieces = {piece.number: piece for piece in way}
    sent = done = 0.0
    computed: list[tuple[float, Path, int]] = []
    for share in stage.shares:
        free = 0.0
        there, back = group.path(group.origin, share.node), group.path(share.node, group.origin)
        if there is None or back is None:
            raise KeyError(share.node)
        for number in share.slices:
            piece = pieces[number]
            sent += there.pace * piece.takes
            arrived = sent + there.delay if share.node != group.origin else 0.0
            free = max(free, arrived) + nodes[share.node].slices[number]
            if share.node != group.origin:
                computed.append((free, back, piece.gives))
        done = max(done, free)
    received = 0.0
    for at, back, nbytes in sorted(computed, key=lambda item: item[0]):
        received = max(received, at) + back.pace * nbytes
        done = max(done, received + back.delay)
    return done


@dataclass(frozen=True, slots=True)
class _Step:
    """A way from one boundary to a later one, from the origin and back to it."""

    stage: Stage | SharedStage
    seconds: float


def _sharing(work: Work, group: Group) -> list[str]:
    """The origin, if it has slices, and the others by the mean seconds of theirs."""
    means = {node.name: sum(node.slices.values()) / len(node.slices) for node in group.nodes if node.slices}
    others = sorted((name for name in means if name != group.origin), key=means.__getitem__)
    own = [group.origin] if group.origin in means else []
    return [*own, *others][:MOST_SHARING]


def _best(work: Work, group: Group, names: Sequence[str]) -> Route | None:
    """The fastest route that shares a span, with some of these nodes: the shortest path over the boundaries.

    Between two stages everything is at the origin; nodes may have several turns.
    """
    #: By boundary and whether a span was shared on the way: seconds, and the steps.
    reached: dict[tuple[int, bool], tuple[float, tuple[_Step, ...]]] = {(work.start, False): (0.0, ())}
    for boundary in range(work.start, work.end):
        steps = list(_steps(work, group, names, boundary))
        for shared in (False, True):
            if (boundary, shared) not in reached:
                continue
            seconds, before = reached[boundary, shared]
            for step in steps:
                key = step.stage.end, shared or isinstance(step.stage, SharedStage)
                total = seconds + step.seconds
                if total < reached.get(key, (inf, ()))[0]:
                    reached[key] = total, (*before, step)
    if (work.end, True) not in reached:
        return None
    seconds, taken = reached[work.end, True]
    return Route(tuple(step.stage for step in taken), seconds, max(step.seconds for step in taken))


def _steps(work: Work, group: Group, names: Sequence[str], start: int) -> Iterator[_Step]:
    """The fastest step to each later boundary, by one node and by several."""
    nodes = [node for node in group.nodes if node.name in names]
    for end in range(start + 1, work.end + 1):
        alone = []
        for node in nodes:
            there, back = group.path(group.origin, node.name), group.path(node.name, group.origin)
            if (start, end) in node.seconds and there is not None and back is not None:
                way = there.seconds(work.sent(start)) + back.seconds(work.sent(end))
                alone.append(_Step(Stage(node.name, start, end), way + node.seconds[start, end]))
        if alone:
            yield min(alone, key=lambda step: step.seconds)
        shared = [step for way in work.ways.get((start, end), ()) if (step := _share(way, (start, end), group, names))]
        if shared:
            best = min(shared, key=lambda step: step.seconds)
            yield _Step(best.stage, best.seconds + (work.decode if start == work.start else 0.0))


def _share(way: Way, span: Span, group: Group, names: Sequence[str]) -> _Step | None:
    """The fastest assignment of a way's slices to nodes, at least two of which get some; None if there is none.

    All of them are looked at, but for those in which one node alone computes as long as the best one takes as a whole.
    """
    seconds = {node.name: node.slices for node in group.nodes if node.name in names}
    best: _Step | None = None
    begun: list[dict[str, tuple[int, ...]]] = [{}]
    for piece in way:
        begun = [
            {**shares, name: (*shares.get(name, ()), piece.number)}
            for shares in begun
            for name in names
            if piece.number in seconds[name]
        ]
    for shares in begun:
        if len(shares) < 2:
            continue
        loads = {name: sum(seconds[name][number] for number in numbers) for name, numbers in shares.items()}
        if best is not None and max(loads.values()) >= best.seconds:
            continue
        stage = SharedStage(*span, _in_order(shares, loads, group.origin))
        try:
            total = measure_shared(stage, way, group)
        except KeyError:
            continue
        if best is None or total < best.seconds:
            best = _Step(stage, total)
    return best


def _in_order(shares: Mapping[str, tuple[int, ...]], loads: Mapping[str, float], origin: str) -> tuple[Share, ...]:
    """Who will take longest is served first, and the origin, which needs nothing sent, is last."""
    names: Iterable[str] = sorted(shares, key=lambda name: (name == origin, -loads[name], name))
    return tuple(Share(name, shares[name]) for name in names)
