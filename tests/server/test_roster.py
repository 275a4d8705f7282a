from __future__ import annotations

import msgspec
import pytest

from cutpoint.server.nodes.planner import Path, RowSlice, Share, SharedStage, Stage
from cutpoint.server.nodes.report import NodeReport, SpanReport
from cutpoint.server.nodes.roster import Member, Places, Roster, Task

MODEL = "a" * 64
PLACES = Places({1: 1000, 2: 10}, (0, 100, 200))
TASK = Task(MODEL, "fp32", 0, 5000)


def report(slowness: float = 1.0, **changes: object) -> NodeReport:
    spans = [SpanReport(start, end, "fp32", slowness * 0.01 * (end - start)) for start, end in ((0, 1), (1, 2), (0, 2))]
    whole = NodeReport("id", 1.0, 10_000, 0.0, 1, 0, False, {MODEL: spans})
    return msgspec.structs.replace(whole, **changes)


def member(slowness: float = 1.0, delay: float = 0.001, **changes: object) -> Member:
    return Member(report(slowness, **changes), Path(delay), Path(delay))


@pytest.fixture
def roster() -> Roster:
    roster = Roster("here", "latency")
    roster.update("here", Member(report(2.5)))
    roster.update("fast", member(1.0))
    return roster


def first(roster: Roster, *without: str) -> tuple[Stage, ...]:
    plan = roster.plan(TASK, PLACES, without, {})
    assert plan is not None
    return plan.choose({}).stages


def test_a_faster_node_gets_the_work(roster: Roster) -> None:
    assert first(roster) == (Stage("fast", 0, 2),)
    assert first(roster, "fast") == (Stage("here", 0, 2),)


def test_one_that_dies_gets_none(roster: Roster) -> None:
    version = roster.version
    roster.update("fast", None)
    assert roster.version == version + 1
    assert first(roster) == (Stage("here", 0, 2),)
    assert set(roster.members) == {"here"}
    roster.update("fast", None)
    assert roster.version == version + 1, "no news"


def test_nor_does_one_that_drains(roster: Roster) -> None:
    roster.update("fast", member(draining=True))
    assert first(roster) == (Stage("here", 0, 2),)


def test_one_that_joins_does(roster: Roster) -> None:
    roster.update("faster", member(0.5))
    assert first(roster) == (Stage("faster", 0, 2),)


def test_one_that_slows_down_loses_it(roster: Roster) -> None:
    roster.update("fast", member(5.0))
    assert first(roster) == (Stage("here", 0, 2),)


def test_so_does_one_whose_link_does(roster: Roster) -> None:
    roster.update("fast", member(1.0, delay=0.1))
    assert first(roster) == (Stage("here", 0, 2),)


def test_noise_changes_no_plan(roster: Roster) -> None:
    version = roster.version
    plan = roster.plan(TASK, PLACES, (), {})
    for slowness in (1.05, 0.9, 1.15):
        roster.update("fast", member(slowness, delay=0.001 * slowness, load=slowness / 2, tasks=3))
    assert roster.version == version
    assert roster.plan(TASK, PLACES, (), {}) is plan


def test_slow_drift_changes_it_in_the_end(roster: Roster) -> None:
    version = roster.version
    for step in range(20):
        roster.update("fast", member(1.0 + step / 10))
    assert version < roster.version < version + 10
    assert roster.seconds(MODEL, "fp32", Stage("fast", 0, 2)) == {"fast": pytest.approx(0.02 * 2.9)}


def test_a_process_that_was_started_anew_is_news(roster: Roster) -> None:
    version = roster.version
    roster.update("fast", member(id="other"))
    assert roster.version == version + 1


def test_only_spans_of_the_precision_between_usable_boundaries_count(roster: Roster) -> None:
    roster.update("here", None)
    roster.update("fast", None)
    spans = [SpanReport(0, 1, "fp32", 0.01), SpanReport(1, 2, "int8", 0.01), SpanReport(0, 2, "int8", 0.01)]
    roster.update("here", Member(report(models={MODEL: spans})))
    assert roster.plan(TASK, PLACES, (), {}) is None
    spans.append(SpanReport(1, 2, "fp32", 0.01))
    roster.update("here", Member(report(models={MODEL: spans})))
    assert roster.plan(TASK, Places({2: 10}, PLACES.macs), (), {}) is None
    roster.update("there", member(models={MODEL: spans}))
    assert first(roster) in [
        (Stage("here", 0, 1), Stage("there", 1, 2)),
        (Stage("there", 0, 1), Stage("here", 1, 2)),
    ]


def test_what_nodes_hand_to_each_other_comes_through_here() -> None:
    roster = Roster("here", "throughput")
    roster.update("here", Member(report(1.0, models={})))
    halves = [SpanReport(0, 1, "fp32", 0.01)], [SpanReport(1, 2, "fp32", 0.01)]
    for name, spans in zip(("a", "b"), halves, strict=True):
        roster.update(name, Member(report(models={MODEL: spans}), Path(0.1, 1e-6), Path(0.2, 2e-6)))
    plan = roster.plan(TASK, PLACES, (), {})
    assert plan is not None
    assert plan.routes[0].stages == (Stage("a", 0, 1), Stage("b", 1, 2))
    there, between, back = 0.1 + 5000e-6, 0.3 + 1000 * 3e-6, 0.2 + 10 * 2e-6
    assert plan.seconds == pytest.approx(0.02 + there + between + back)


def test_amp4ec_goes_by_its_score() -> None:
    roster = Roster("here", "amp4ec")
    roster.update("here", Member(report(2.5, cpu=0.4)))
    roster.update("fast", member(1.0, cpu=1.0))

    def nodes(**tasks: int) -> tuple[Stage, ...]:
        plan = roster.plan(TASK, PLACES, (), tasks)
        assert plan is not None
        return plan.choose({}).stages

    assert nodes() == (Stage("fast", 0, 1), Stage("here", 1, 2))
    assert nodes(fast=5) == (Stage("here", 0, 1), Stage("here", 1, 2))
    roster.update("fast", member(1.0, cpu=1.0, load=0.95))
    assert nodes() == (Stage("here", 0, 1), Stage("here", 1, 2))


def test_slices_are_shared_where_that_is_soonest(roster: Roster) -> None:
    halves = RowSlice(0, 2500, 500), RowSlice(1, 2500, 500)
    places = Places(PLACES.nbytes, PLACES.macs, {(0, 1): (halves,)})
    roster.update("here", Member(report(1.0, slices={MODEL: {0: 0.005, 1: 0.006}})))
    roster.update("fast", member(1.0, slices={MODEL: {0: 0.004, 1: 0.004}}))
    plan = roster.plan(TASK, places, (), {})
    assert plan is not None
    shared, rest = plan.choose({}).stages
    assert shared == SharedStage(0, 1, (Share("fast", (1,)), Share("here", (0,))))
    assert rest == Stage("here", 1, 2)
    assert roster.seconds(MODEL, "fp32", shared) == {"fast": 0.004, "here": 0.005}
    assert roster.slice(MODEL, 1, "gone") == 0.0

    def whole() -> bool:
        plan = roster.plan(TASK, places, (), {})
        assert plan is not None
        return all(isinstance(stage, Stage) for stage in plan.choose({}).stages)

    version = roster.version
    roster.update("fast", member(1.0, slices={MODEL: {0: 0.02, 1: 0.02}}))
    assert roster.version == version + 1
    assert whole()

    # A slice that only the other one can compute would be lost with it.
    roster.update("fast", member(1.0, slices={MODEL: {0: 0.004, 1: 0.004}}))
    assert not whole()
    roster.update("here", Member(report(1.0, slices={MODEL: {0: 0.005}})))
    assert whole()


def test_other_rules_use_no_slices() -> None:
    halves = RowSlice(0, 25, 5), RowSlice(1, 25, 5)
    places = Places(PLACES.nbytes, PLACES.macs, {(0, 2): (halves,)})
    for rule in ("throughput", "amp4ec"):
        roster = Roster("here", rule)  # type: ignore[arg-type]
        for name in ("here", "there"):
            roster.update(name, member(1.0, delay=0.0, slices={MODEL: {0: 0.001, 1: 0.001}}))
        plan = roster.plan(TASK, places, (), {})
        assert plan is not None
        assert all(isinstance(stage, Stage) for route in plan.routes for stage in route.stages)
