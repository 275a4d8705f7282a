from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.server.nodes.planner import (
    Group,
    Node,
    Path,
    Plan,
    Route,
    RowSlice,
    Share,
    SharedStage,
    Stage,
    Work,
    make_plan,
)
from cutpoint.server.nodes.slicing import MOST_SHARING, find_ways, measure_shared, share_out

_TIMES = st.floats(0.001, 1.0)


def _ways(*counts: int) -> tuple[tuple[RowSlice, ...], ...]:
    """Ways with so many slices each, numbered one after the other."""
    ways, number = [], 0
    for count in counts:
        ways.append(tuple(RowSlice(number + place, 100 // count, 40 // count) for place in range(count)))
        number += count
    return tuple(ways)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Work, Group]:
    """Up to three nodes and three boundaries; some spans, slices and ways are missing."""
    last = draw(st.integers(1, 3))
    names = [f"n{number}" for number in range(draw(st.integers(1, 3)))]
    spans = [(i, j) for i in range(last) for j in range(i + 1, last + 1)]
    cut = draw(st.lists(st.sampled_from(spans), unique=True, max_size=2))
    ways, first = {}, 0
    for span in cut:
        counts = draw(st.lists(st.integers(2, 3), min_size=1, max_size=2))
        ways[span] = tuple(tuple(RowSlice(p.number + first, p.takes, p.gives) for p in way) for way in _ways(*counts))
        first += sum(counts)
    nodes = []
    for name in names:
        known = draw(st.lists(st.sampled_from(spans), unique=True))
        pieces = draw(st.lists(st.integers(0, first - 1), unique=True)) if first else []
        nodes.append(Node(name, {span: draw(_TIMES) for span in known}, {number: draw(_TIMES) for number in pieces}))
    pairs = [(names[0], name) for name in names[1:]]
    there = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    paths = {pair: Path(draw(st.floats(0, 0.1)), draw(st.floats(0, 0.01))) for pair in there}
    paths |= {(b, a): Path(draw(st.floats(0, 0.1)), draw(st.floats(0, 0.01))) for a, b in there}
    # What one node hands to another goes through the origin.
    for a, b in permutations([b for _, b in there], 2):
        paths[a, b] = paths[a, names[0]] + paths[names[0], b]
    nbytes = tuple(draw(st.integers(1, 100)) for _ in range(last + 1))
    work = Work(0, last, draw(st.integers(1, 100)), nbytes, ways, draw(st.floats(0, 0.1)))
    return work, Group(names[0], tuple(nodes), paths)


def _all_steps(work: Work, group: Group, start: int, end: int) -> Iterator[tuple[Stage | SharedStage, float]]:
    """Every way from one boundary to another with its seconds, one by one."""
    for node in group.nodes:
        there, back = group.path(group.origin, node.name), group.path(node.name, group.origin)
        if (start, end) in node.seconds and there is not None and back is not None:
            seconds = there.seconds(work.sent(start)) + node.seconds[start, end] + back.seconds(work.sent(end))
            yield Stage(node.name, start, end), seconds
    for way in work.ways.get((start, end), ()):
        for nodes in product(group.nodes, repeat=len(way)):
            given = {node.name: node.slices for node in nodes}
            if len(given) < 2 or any(p.number not in given[n.name] for p, n in zip(way, nodes, strict=True)):
                continue
            shares = []
            for name, seconds in given.items():
                mine = tuple(p.number for p, node in zip(way, nodes, strict=True) if node.name == name)
                shares.append((name == group.origin, -sum(seconds[number] for number in mine), name, mine))
            stage = SharedStage(start, end, tuple(Share(name, mine) for *_, name, mine in sorted(shares)))
            try:
                yield stage, measure_shared(stage, way, group) + (work.decode if start == work.start else 0.0)
            except KeyError:
                continue


def _least(work: Work, group: Group, start: int, shared: bool) -> float:
    """The fewest seconds from a boundary on; with at least one span in slices, unless there was one before."""
    if start == work.end:
        return 0.0 if shared else float("inf")
    found = [float("inf")]
    for end in range(start + 1, work.end + 1):
        for stage, seconds in _all_steps(work, group, start, end):
            found.append(seconds + _least(work, group, end, shared or isinstance(stage, SharedStage)))
    return min(found)


@given(problems())
def test_no_way_of_sharing_is_faster_than_the_plans(problem: tuple[Work, Group]) -> None:
    whole = make_plan("latency", *problem)
    plan = share_out(whole, *problem)
    least = min(_least(*problem, 0, False), whole.seconds if whole is not None else float("inf"))
    assert (plan.seconds if plan is not None else float("inf")) == pytest.approx(least)


@given(problems())
def test_slices_make_no_plan_worse(problem: tuple[Work, Group]) -> None:
    whole, plan = make_plan("latency", *problem), share_out(make_plan("latency", *problem), *problem)
    if whole is not None:
        assert plan is not None
        assert plan.seconds <= whole.seconds
        busy = {node.name: 0.5 for node in problem[1].nodes}
        assert min(r.seconds + r.wait(busy) for r in plan.routes) <= min(r.seconds + r.wait(busy) for r in whole.routes)


@given(problems())
def test_routes_are_whole(problem: tuple[Work, Group]) -> None:
    work, group = problem
    nodes = {node.name: node for node in group.nodes}
    plan = share_out(None, work, group)
    for route in plan.routes if plan is not None else ():
        at = work.start
        for stage in route.stages:
            assert stage.start == at
            at = stage.end
            if isinstance(stage, SharedStage):
                numbers = sorted(number for share in stage.shares for number in share.slices)
                ways = work.ways[stage.start, stage.end]
                assert numbers in [sorted(piece.number for piece in way) for way in ways]
                assert all(number in nodes[share.node].slices for share in stage.shares for number in share.slices)
                assert len(set(stage.nodes)) == len(stage.nodes) >= 2
        assert at == work.end
        assert route.seconds > 0


@given(st.integers(1, 6), st.sets(st.tuples(st.integers(0, 5), st.integers(1, 6))))
def test_ways_put_all_rows_together(height: int, ranges: set[tuple[int, int]]) -> None:
    slices = {rows: RowSlice(number, 1, 1) for number, rows in enumerate(sorted(ranges)) if rows[0] < rows[1] <= height}
    rows = {piece.number: rows for rows, piece in slices.items()}
    ways = find_ways(slices, height)
    assert [len(way) for way in ways] == sorted(len(way) for way in ways)
    for way in ways:
        borders = [0, *(rows[piece.number][1] for piece in way)]
        assert borders == [*(rows[piece.number][0] for piece in way), height]
    count = [1] + [0] * height
    for stop in range(1, height + 1):
        count[stop] = sum(count[first] for first, end in slices if end == stop)
    assert len(ways) == min(count[height], 32)


def _group(*seconds: dict[int, float], delay: float = 0.0, pace: float = 0.0) -> Group:
    """n0 is the origin."""
    nodes = tuple(Node(f"n{number}", {(0, 1): 1.0}, its) for number, its in enumerate(seconds))
    paths = {}
    for node in nodes[1:]:
        paths["n0", node.name] = paths[node.name, "n0"] = Path(delay, pace)
    return Group("n0", nodes, paths)


def test_the_origins_link_carries_one_thing_at_a_time() -> None:
    [way] = _ways(2)
    group = _group({}, {0: 0.5}, {1: 0.2}, delay=0.01, pace=0.001)
    stage = SharedStage(0, 1, (Share("n1", (0,)), Share("n2", (1,))))
    # 50 bytes to each: the second arrives after both. 20 bytes from each: the first one back is n2.
    assert measure_shared(stage, way, group) == pytest.approx(0.05 + 0.01 + 0.5 + 0.02 + 0.01)
    alike = _group({}, {0: 0.2}, {1: 0.15}, delay=0.01, pace=0.001)
    assert measure_shared(stage, way, alike) == pytest.approx(0.05 + 0.01 + 0.2 + 2 * 0.02 + 0.01)


def test_a_node_computes_its_slices_one_after_the_other() -> None:
    [way] = _ways(3)
    group = _group({0: 0.1, 1: 0.1, 2: 0.1}, {0: 0.1, 1: 0.1, 2: 0.1})
    assert measure_shared(SharedStage(0, 1, (Share("n1", (0, 1)), Share("n0", (2,)))), way, group) == pytest.approx(0.2)


def test_the_faster_node_gets_the_larger_slice() -> None:
    way = (RowSlice(0, 60, 60), RowSlice(1, 40, 40))
    group = _group({0: 0.9, 1: 0.6}, {0: 0.6, 1: 0.4}, pace=1e-4)
    plan = share_out(None, Work(0, 1, 100, (100, 100), {(0, 1): (way,)}), group)
    assert plan is not None
    (stage,) = plan.routes[0].stages
    assert isinstance(stage, SharedStage)
    assert stage.shares == (Share("n1", (0,)), Share("n0", (1,)))


def test_the_slow_link_keeps_the_work_together() -> None:
    ways = {(0, 1): _ways(2)}

    def stages(pace: float) -> tuple[Stage | SharedStage, ...]:
        group = _group({0: 0.55, 1: 0.55}, {0: 0.55, 1: 0.55}, pace=pace)
        work = Work(0, 1, 100, (100, 40), ways)
        plan = share_out(make_plan("latency", work, group), work, group)
        assert plan is not None
        return plan.choose({}).stages

    assert isinstance(stages(0.001)[0], SharedStage)
    assert stages(0.02) == (Stage("n0", 0, 1),)


def test_a_busy_node_shares_nothing() -> None:
    work = Work(0, 1, 100, (100, 40), {(0, 1): _ways(2, 2)})
    both = {number: 0.55 for number in range(4)}
    group = _group(both, both, both, pace=1e-5)
    plan = share_out(make_plan("latency", work, group), work, group)
    assert plan is not None
    assert set(plan.choose({"n1": 0.3}).nodes) == {"n0", "n2"}
    assert plan.choose({"n1": 0.9, "n2": 0.9}).stages == (Stage("n0", 0, 1),)


def test_a_stage_waits_for_the_last_of_its_nodes() -> None:
    shared = SharedStage(0, 1, (Share("a", (0,)), Share("b", (1,))))
    route = Route((shared, Stage("a", 1, 2)), 1.0, 1.0)
    assert route.wait({"a": 0.1, "b": 0.3}) == pytest.approx(0.4)
    assert Plan((route,)).seconds == 1.0


def test_only_so_many_share_the_origin_and_the_fastest_among_them() -> None:
    seconds = [{0: 0.1 + number / 10, 1: 0.1 + number / 10} for number in reversed(range(6))]
    plan = share_out(None, Work(0, 1, 1, (1, 1), {(0, 1): _ways(2)}), _group(*seconds))
    assert plan is not None
    assert {name for route in plan.routes for name in route.nodes} <= {"n0", "n3", "n4", "n5"}
    assert MOST_SHARING == 4


def test_ways_with_very_many_assignments_are_left_out() -> None:
    few, many = _ways(2, 6)
    slices = {number: 0.1 for number in range(8)}
    group = _group(slices, slices, slices, slices)

    def used(*ways: tuple[RowSlice, ...]) -> set[int]:
        plan = share_out(None, Work(0, 1, 1, (1, 1), {(0, 1): ways}), group)
        stages = [stage for route in plan.routes for stage in route.stages] if plan is not None else []
        shares = [share for stage in stages if isinstance(stage, SharedStage) for share in stage.shares]
        return {number for share in shares for number in share.slices}

    assert used(few, many) == {0, 1}
    assert not used(many)
