import pytest
from tests.support.networks import SIDE, inspect, residual_net, token_net, two_scale_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.cuts import Cut, choose_cuts, find_cuts, pick_cuts


def test_one_cut_per_fused_group_behind_its_activation() -> None:
    cuts = find_cuts(inspect(residual_net()))
    assert [cut.label for cut in cuts if len(cut.tensors) == 1] == ["r1", "r3", "m"]


def test_a_flattened_copy_is_no_better_a_cut() -> None:
    cuts = find_cuts(inspect(residual_net()))
    assert cuts[-1].tensors == ("m",)
    assert cuts[-1].elements == 16


def test_several_tensors_where_there_is_no_other_way() -> None:
    graph = inspect(two_scale_net())
    cuts = find_cuts(graph)
    assert cuts[0].tensors == ("s1",)
    assert max(len(cut.tensors) for cut in cuts) == 2
    assert [cut.macs for cut in cuts] == sorted(cut.macs for cut in cuts)


def test_tokens_are_cut_between_blocks() -> None:
    assert {"block", "mean"} <= {cut.label for cut in find_cuts(inspect(token_net()))}


def _cut(name: str, macs: int, elements: int) -> Cut:
    return Cut((name,), macs, macs, elements)


def test_cuts_that_shrink_come_first_then_gaps_are_filled() -> None:
    cuts = [_cut("a", 5, 900), _cut("b", 30, 200), _cut("c", 50, 200), _cut("d", 70, 200), _cut("e", 95, 10)]
    assert [cut.label for cut in choose_cuts(cuts, 100, 2, 500)] == ["b", "e"]
    assert [cut.label for cut in choose_cuts(cuts, 100, 3, 500)] == ["b", "d", "e"]
    assert [cut.label for cut in choose_cuts(cuts, 100, 9, 500)] == ["a", "b", "c", "d", "e"]
    assert choose_cuts(cuts, 100, 0, 500) == ()


def test_too_many_shrinking_cuts_lose_the_smallest_saving() -> None:
    cuts = [_cut("a", 10, 400), _cut("b", 20, 390), _cut("c", 30, 50)]
    assert [cut.label for cut in choose_cuts(cuts, 100, 2, 800)] == ["a", "c"]


def test_cuts_by_name() -> None:
    graph = inspect(two_scale_net())
    assert [cut.tensors for cut in pick_cuts(graph, ["s2+s1", "s1"])] == [("s1",), ("s1", "s2")]
    with pytest.raises(CalibrationError, match=r"'nowhere'.*s1"):
        pick_cuts(graph, ["nowhere"])


def test_positions_split_the_graph() -> None:
    graph = inspect(residual_net(side=SIDE))
    for cut in find_cuts(graph):
        assert graph.crossings[cut.position] == cut.tensors
        assert cut.macs == sum(graph.macs[: cut.position])
