from __future__ import annotations

import pytest

from cutpoint.server.nodes.amp4ec import Condition, assign, partition, score
from cutpoint.server.nodes.planner import Stage

_SPANS = frozenset((i, j) for i in range(5) for j in range(i + 1, 5))
_MACS = (0, 10, 45, 70, 100)


def test_the_score_is_the_papers() -> None:
    node = Condition(_SPANS, resources=0.5, load=0.25, mean=1.0, tasks=0)
    assert score(node, 0) == pytest.approx(0.1 + 0.15 + 0.05 + 0.5)
    assert score(node, 2) == pytest.approx(0.1 + 0.15 + 0.05 + 0.1)


def test_parts_are_as_equal_as_the_boundaries_allow() -> None:
    assert partition(0, 4, _MACS, 2, _SPANS) == ((0, 2), (2, 4))
    assert partition(0, 4, _MACS, 3, _SPANS) == ((0, 2), (2, 3), (3, 4))
    assert partition(0, 4, _MACS, 1, _SPANS) == ((0, 4),)


def test_only_spans_that_are_there_become_parts() -> None:
    assert partition(0, 4, _MACS, 2, frozenset({(0, 1), (1, 4), (0, 4)})) == ((0, 1), (1, 4))
    assert partition(0, 4, _MACS, 3, frozenset({(0, 4)})) == ((0, 4),)


def test_tasks_weigh_more_than_resources() -> None:
    nodes = {
        "large": Condition(_SPANS, 1.0, 0.0, 0.1, tasks=0),
        "small": Condition(_SPANS, 0.4, 0.0, 0.3, tasks=0),
    }
    assert assign([(0, 2), (2, 4)], nodes) == (Stage("large", 0, 2), Stage("small", 2, 4))


def test_nodes_over_the_limit_are_skipped_unless_all_are() -> None:
    def nodes(load: float) -> dict[str, Condition]:
        return {"busy": Condition(_SPANS, 1.0, 0.9, 0.0, 0), "other": Condition(_SPANS, 0.1, load, 0.5, 3)}

    assert assign([(0, 4)], nodes(0.5)) == (Stage("other", 0, 4),)
    assert assign([(0, 4)], nodes(0.9)) == (Stage("busy", 0, 4),)
    assert assign([(0, 9)], nodes(0.5)) is None
