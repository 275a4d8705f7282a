"""The node score and the partitions of AMP4EC (Zhang, Guo, Tan, Jiang, arXiv:2504.00407), to compare the planner with.

The model is cut into as many parts as there are nodes, at the boundaries where its multiply-accumulates are nearest to
equal shares, whatever the nodes and the links are like. Each part goes to the node with the highest score

    0.2 · resources + 0.2 · (1 - load) + 0.1 / (1 + mean time) + 0.5 / (1 + 2 · tasks)

of those whose load is at most 0.8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cutpoint.server.nodes.planner import Span, Stage

__all__ = ["Condition", "assign", "partition", "score"]

_MOST_LOAD = 0.8


@dataclass(frozen=True, slots=True)
class Condition:
    """What the score looks at.

    Attributes:
        spans: that the node can compute.
        resources: its share of the processors and the memory of the best node, 0 … 1.
        load: share of its processors that is in use, 0 … 1.
        mean: seconds that its spans take.
        tasks: that it has under way.
    """

    spans: frozenset[Span]
    resources: float
    load: float
    mean: float
    tasks: int


def score(node: Condition, tasks: int) -> float:
    """How good a place for one more task the node is, while it has so many."""
    return 0.2 * node.resources + 0.2 * (1 - node.load) + 0.1 / (1 + node.mean) + 0.5 / (1 + 2 * tasks)


def partition(start: int, end: int, macs: Sequence[int], parts: int, spans: frozenset[Span]) -> tuple[Span, ...]:
    """Cuts span(start, end) at the boundaries that make the parts most equal.

    Args:
        start: boundary.
        end: boundary.
        macs: from the input up to each boundary.
        parts: as many, or fewer where the spans do not allow it; at least one.
        spans: that somebody can compute.
    """
    cuts = [start]
    for number in range(1, parts):
        goal = macs[start] + (macs[end] - macs[start]) * number / parts
        possible = [
            boundary for boundary in range(cuts[-1] + 1, end) if {(cuts[-1], boundary), (boundary, end)} <= spans
        ]
        if not possible:
            break
        cuts.append(min(possible, key=lambda boundary: abs(macs[boundary] - goal)))
    return tuple(zip(cuts, [*cuts[1:], end], strict=True))


def assign(parts: Sequence[Span], nodes: Mapping[str, Condition]) -> tuple[Stage, ...] | None:
    """A node for each part, the best by score at that moment; None if there is none for one of them.

    A node that is over the limit is taken only if all of them are: requests are answered.
    """
    tasks = {name: node.tasks for name, node in nodes.items()}
    stages = []
    for part in parts:
        able = [name for name, node in nodes.items() if part in node.spans]
        able = [name for name in able if nodes[name].load <= _MOST_LOAD] or able
        if not able:
            return None
        best = max(able, key=lambda name: score(nodes[name], tasks[name]))
        tasks[best] += 1
        stages.append(Stage(best, *part))
    return tuple(stages)
