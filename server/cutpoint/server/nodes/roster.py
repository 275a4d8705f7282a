"""Who is in the group, what is known of each node, and the plans that follow. No clock and no sockets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cutpoint.server.nodes.amp4ec import Condition, assign, partition
from cutpoint.server.nodes.planner import (
    Group,
    Node,
    Path,
    Plan,
    SharedStage,
    Span,
    Stage,
    Way,
    Work,
    make_plan,
    measure,
)
from cutpoint.server.nodes.report import NodeReport
from cutpoint.server.nodes.slicing import share_out

__all__ = ["Member", "Places", "Roster", "Rule", "Task"]

#: How routes are found: the planner's objectives, or AMP4EC's partitions and score.
Rule = Literal["latency", "throughput", "amp4ec"]

#: A figure that differs less from the one that was planned with is the same: plans do not follow noise.
_TOLERANCE = 0.2
#: Seconds by which a figure must differ, too.
_NOTICEABLE = 0.0002


@dataclass(frozen=True, slots=True)
class Member:
    """A node as the group sees it.

    Attributes:
        report: its last word.
        there: the way from the origin to it; for the origin itself nothing.
        back: and back.
    """

    report: NodeReport
    there: Path = field(default_factory=Path)
    back: Path = field(default_factory=Path)

    def differs(self, other: Member) -> bool:
        """Whether a plan made with this may be a bad one for `other`."""
        mine, its = self._figures(), other._figures()
        same = self.report.id == other.report.id and mine.keys() == its.keys()
        return not same or any(_differ(value, its[key]) for key, value in mine.items())

    def _figures(self) -> dict[object, float]:
        found: dict[object, float] = {
            (model, span.start, span.end, span.precision): span.seconds
            for model, spans in self.report.models.items()
            for span in spans
        }
        for model, slices in self.report.slices.items():
            found |= {(model, number): seconds for number, seconds in slices.items()}
        for name, path in (("there", self.there), ("back", self.back)):
            found |= {(name, "delay"): path.delay, (name, "100 kB"): path.pace * 1e5}
        return found


@dataclass(frozen=True, slots=True)
class Task:
    """What a request needs.

    Attributes:
        model: hash of the bundle.
        precision: of the spans.
        start: boundary where it begins.
        payload: bytes of it as it is.
        decode: seconds until its tensors are there.
    """

    model: str
    precision: str
    start: int
    payload: int
    decode: float = 0.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where a model's nodes can hand over to each other.

    Attributes:
        nbytes: of the boundaries at which they can, as they are sent; the last one is among them.
        macs: from the input up to each boundary.
        ways: in which the spans between those boundaries are there in slices.
    """

    nbytes: dict[int, int]
    macs: tuple[int, ...]
    ways: Mapping[Span, tuple[Way, ...]] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The boundary of the outputs."""
        return len(self.macs) - 1


class Roster:
    """Keeps the members, and a plan for each kind of task until what it is based on has changed.

    Args:
        origin: name of this node.
        rule: how routes are found.

    Attributes:
        version: rises whenever plans are made anew.
    """

    def __init__(self, origin: str, rule: Rule) -> None:
        self._origin = origin
        self._rule: Rule = rule
        self._members: dict[str, Member] = {}
        self._planned: dict[str, Member] = {}
        self._plans: dict[tuple[Task, frozenset[str]], Plan | None] = {}
        self.version = 0

    @property
    def members(self) -> Mapping[str, Member]:
        """By name, those that are there."""
        return self._members

    def update(self, name: str, member: Member | None) -> None:
        """What is known of a node now; None: it is gone, or cannot be reached."""
        known = self._planned.get(name)
        if member is None or member.report.draining:
            self._members.pop(name, None)
            changed = self._planned.pop(name, None) is not None
        else:
            self._members[name] = member
            changed = known is None or known.differs(member)
            if changed:
                self._planned[name] = member
        if changed:
            self.version += 1
            self._plans.clear()

    def seconds(self, model: str, precision: str, stage: Stage | SharedStage) -> dict[str, float]:
        """What a stage takes its nodes, as they last said; 0 where one has said nothing."""
        if isinstance(stage, Stage):
            return {stage.node: self._span(model, (stage.start, stage.end, precision), stage.node)}
        return {share.node: sum(self.slice(model, n, share.node) for n in share.slices) for share in stage.shares}

    def slice(self, model: str, number: int, node: str) -> float:
        """What a slice takes a node, as it last said; 0 where it has said nothing."""
        member = self._members.get(node)
        return member.report.slices.get(model, {}).get(number, 0.0) if member is not None else 0.0

    def _span(self, model: str, wanted: tuple[int, int, str], node: str) -> float:
        member = self._members.get(node)
        spans = member.report.models.get(model, ()) if member is not None else ()
        return next((span.seconds for span in spans if (span.start, span.end, span.precision) == wanted), 0.0)

    def plan(self, task: Task, places: Places, without: Iterable[str], tasks: Mapping[str, int]) -> Plan | None:
        """How to answer a task; None if no nodes can.

        Args:
            task: what is needed.
            places: of the task's model.
            without: names of nodes that are not to be used.
            tasks: requests that each node has from here, as far as it has any.
        """
        avoided = frozenset(without)
        if self._rule == "amp4ec":
            return self._amp4ec(task, places, avoided, tasks)
        key = task, avoided
        if key not in self._plans:
            problem = self._problem(task, places, avoided)
            plan = make_plan(self._rule, *problem)
            self._plans[key] = share_out(plan, *problem) if self._rule == "latency" else plan
        return self._plans[key]

    def _problem(self, task: Task, places: Places, avoided: frozenset[str]) -> tuple[Work, Group]:
        usable = {task.start, *places.nbytes}
        nodes = []
        paths: dict[tuple[str, str], Path] = {}
        members = {name: member for name, member in self._planned.items() if name not in avoided}
        for name, member in members.items():
            spans: dict[Span, float] = {}
            for span in member.report.models.get(task.model, ()):
                if span.precision == task.precision and {span.start, span.end} <= usable:
                    spans[span.start, span.end] = span.seconds
            nodes.append(Node(name, spans, member.report.slices.get(task.model, {})))
            if name != self._origin:
                paths[self._origin, name], paths[name, self._origin] = member.there, member.back
        # What one node hands to another goes through the origin, which keeps it until the next one has answered.
        for sender in members:
            for receiver in members:
                if sender != receiver and self._origin not in (sender, receiver):
                    paths[sender, receiver] = members[sender].back + members[receiver].there
        sizes = tuple(places.nbytes.get(boundary, 0) for boundary in range(places.last + 1))
        # The origin must be able to compute what another node fails to.
        own = members[self._origin].report.slices.get(task.model, {}) if self._origin in members else {}
        ways = {
            span: tuple(way for way in its if all(piece.number in own for piece in way))
            for span, its in places.ways.items()
        }
        work = Work(task.start, places.last, task.payload, sizes, ways, task.decode)
        return work, Group(self._origin, tuple(nodes), paths)

    def _amp4ec(self, task: Task, places: Places, avoided: frozenset[str], tasks: Mapping[str, int]) -> Plan | None:
        """One route for one request: scores change with each."""
        work, group = self._problem(task, places, avoided)
        most_cpu = max((member.report.cpu for member in self._members.values()), default=1.0)
        most_memory = max((member.report.memory or 0 for member in self._members.values()), default=0) or 1
        conditions = {}
        for node in group.nodes:
            report = self._members[node.name].report
            memory = 1.0 if report.memory is None else report.memory / most_memory
            whole = node.seconds.get((work.start, work.end), 0.0)
            resources = (report.cpu / most_cpu + min(1.0, memory)) / 2
            conditions[node.name] = Condition(
                frozenset(node.seconds), resources, report.load, whole / len(group.nodes), tasks.get(node.name, 0)
            )
        known = frozenset(span for node in group.nodes for span in node.seconds)
        stages = assign(partition(work.start, work.end, places.macs, len(group.nodes), known), conditions)
        return None if stages is None else Plan((measure(stages, work, group),))


def _differ(planned: float, now: float) -> bool:
    return abs(now - planned) > max(_NOTICEABLE, _TOLERANCE * planned)
