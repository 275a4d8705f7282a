from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.server.nodes.planner import Group, Node, Path, Plan, Route, Span, Stage, Work, make_plan, measure

_TIMES = st.floats(0.001, 1.0)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Work, Group]:
    """Up to three nodes and four boundaries; some spans, some ways and some memory are missing."""
    last = draw(st.integers(1, 4))
    names = [f"n{number}" for number in range(draw(st.integers(1, 3)))]
    spans = [(i, j) for i in range(last) for j in range(i + 1, last + 1)]
    nodes = []
    for name in names:
        known = draw(st.lists(st.sampled_from(spans), unique=True))
        nodes.append(Node(name, {span: draw(_TIMES) for span in known}))
    pairs = [(a, b) for a in names for b in names if a != b]
    ways = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    paths = {pair: Path(draw(st.floats(0, 0.1)), draw(st.floats(0, 0.01))) for pair in ways}
    nbytes = tuple(draw(st.integers(1, 100)) for _ in range(last + 1))
    work = Work(draw(st.integers(0, last - 1)), last, draw(st.integers(1, 100)), nbytes)
    return work, Group(names[0], tuple(nodes), paths)


def all_routes(work: Work, group: Group) -> Iterator[Route]:
    """Every route there is, one by one."""
    nodes = {node.name: node for node in group.nodes}
    for count in range(1, len(nodes) + 1):
        for inner in combinations(range(work.start + 1, work.end), count - 1):
            cuts = (work.start, *inner, work.end)
            spans = list(pairwise(cuts))
            for names in permutations(nodes, count):
                try:
                    route = measure([Stage(n, *s) for n, s in zip(names, spans, strict=True)], work, group)
                except KeyError:
                    continue
                yield route


@given(problems())
def test_no_route_is_faster_than_the_plans(problem: tuple[Work, Group]) -> None:
    plan = make_plan("latency", *problem)
    routes = list(all_routes(*problem))
    assert (plan is None) == (not routes)
    if plan is not None:
        assert plan.seconds == pytest.approx(min(route.seconds for route in routes))


@given(problems(), st.lists(st.floats(0, 2), min_size=3, max_size=3))
def test_nor_when_nodes_are_busy(problem: tuple[Work, Group], busy: list[float]) -> None:
    plan = make_plan("latency", *problem)
    waits = {f"n{number}": seconds for number, seconds in enumerate(busy)}

    def total(route: Route) -> float:
        return route.seconds + sum(waits[name] for name in route.nodes)

    if plan is not None:
        assert total(plan.choose(waits)) == pytest.approx(min(total(route) for route in all_routes(*problem)))


def _most(routes: list[Route]) -> float:
    """The best sum of rates of routes without a common node, by trying all sets of routes."""
    best = 0.0
    for number, route in enumerate(routes):
        others = [other for other in routes[number + 1 :] if not set(other.nodes) & set(route.nodes)]
        best = max(best, 1 / route.interval + _most(others))
    return best


@given(problems())
def test_no_disjoint_routes_answer_more_than_the_plans(problem: tuple[Work, Group]) -> None:
    plan = make_plan("throughput", *problem)
    by_nodes: dict[frozenset[str], Route] = {}
    for route in all_routes(*problem):
        known = by_nodes.get(frozenset(route.nodes))
        if known is None or route.interval < known.interval:
            by_nodes[frozenset(route.nodes)] = route
    if plan is None:
        assert not by_nodes
        return
    names = [name for route in plan.routes for name in route.nodes]
    assert len(names) == len(set(names))
    assert sum(1 / route.interval for route in plan.routes) == pytest.approx(_most(list(by_nodes.values())))


@given(problems())
def test_a_plan_is_never_worse_than_one_node_alone(problem: tuple[Work, Group]) -> None:
    work, group = problem
    whole = (work.start, work.end)
    alone = [route for route in all_routes(work, group) if route.stages[0].end == work.end]
    fastest, most = make_plan("latency", work, group), make_plan("throughput", work, group)
    for route in alone:
        assert route.stages == (Stage(route.nodes[0], *whole),)
        assert fastest is not None
        assert fastest.seconds <= route.seconds + 1e-9
        assert most is not None
        assert sum(1 / other.interval for other in most.routes) >= 1 / route.interval - 1e-9


def _spans(slowness: float, *spans: Span) -> dict[Span, float]:
    return {(start, end): slowness * (end - start) for start, end in spans}


def test_work_goes_to_the_fast_node_where_the_link_is_worth_it() -> None:
    work = Work(0, 2, 100, (100, 10, 1))
    whole = [(0, 1), (1, 2), (0, 2)]
    nodes = (Node("slow", _spans(1.0, *whole)), Node("fast", _spans(0.1, *whole)))

    def group(pace: float) -> Group:
        return Group("slow", nodes, {("slow", "fast"): Path(0.0, pace), ("fast", "slow"): Path(0.0, pace)})

    def stages(pace: float) -> tuple[Stage, ...]:
        plan = make_plan("latency", work, group(pace))
        assert plan is not None
        return plan.choose({}).stages

    assert stages(0.001) == (Stage("fast", 0, 2),)
    assert stages(0.02) == (Stage("slow", 0, 1), Stage("fast", 1, 2))
    assert stages(0.2) == (Stage("slow", 0, 2),)


def test_equal_routes_have_as_few_stages_as_possible() -> None:
    spans = _spans(0.1, (0, 1), (1, 2), (0, 2))
    group = Group("a", (Node("a", spans), Node("b", spans)), {("a", "b"): Path(), ("b", "a"): Path()})
    plan = make_plan("latency", Work(0, 2, 1, (1, 1, 1)), group)
    assert plan is not None
    assert all(len(route.stages) == 1 for route in plan.routes)


def test_where_no_node_holds_the_whole_there_is_a_pipeline() -> None:
    halves, whole = _spans(0.1, (0, 1), (1, 2)), _spans(0.1, (0, 1), (1, 2), (0, 2))
    work, ways = Work(0, 2, 1, (1, 1, 1)), {("a", "b"): Path(), ("b", "a"): Path()}
    small = make_plan("throughput", work, Group("a", (Node("a", halves), Node("b", halves)), ways))
    large = make_plan("throughput", work, Group("a", (Node("a", whole), Node("b", whole)), ways))
    assert small is not None
    assert large is not None
    assert [len(route.stages) for route in small.routes] == [2]
    assert [len(route.stages) for route in large.routes] == [1, 1]


def test_busy_nodes_are_passed_over() -> None:
    quick, slow = (Route((Stage(name, 0, 1),), seconds, seconds) for name, seconds in (("quick", 0.1), ("slow", 0.3)))
    plan = Plan((quick, slow))
    assert plan.choose({}) is quick
    assert plan.choose({"quick": 0.25}) is slow
    assert plan.choose({"quick": 0.25, "slow": 0.2}) is quick
    assert plan.seconds == 0.1


def test_too_many_nodes_are_refused() -> None:
    nodes = tuple(Node(str(number), {(0, 1): 1.0}) for number in range(9))
    with pytest.raises(ValueError, match="at most 8 nodes, not 9"):
        make_plan("latency", Work(0, 1, 1, (1, 1)), Group("0", nodes, {}))
