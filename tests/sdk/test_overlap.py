import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.sdk.errors import InputError
from cutpoint.sdk.overlap import ChannelState, Schedule, SliceCost, SlicedHead, best_schedule, schedule_steps
from cutpoint.sdk.timeline import finish_ms

#: A byte takes a millisecond.
SLOW = ChannelState(uplink=8e3, rtt_ms=2)


def slices(count: int, device_ms: float, nbytes: float, server_ms: float, picture_bytes: float = 1) -> SlicedHead:
    return SlicedHead(3, (SliceCost(device_ms, nbytes, 0, 0, picture_bytes, server_ms),) * count, tail_ms=5)


def test_computing_and_sending_overlap() -> None:
    # 10 on the device, then as long on the link, 2 on the way, 5 for the tail – and half of it side by side with two.
    assert finish_ms(schedule_steps(slices(1, 10, 10, 9), 0, SLOW)) == 27
    assert finish_ms(schedule_steps(slices(2, 5, 5, 9), 0, SLOW)) == 22


def test_the_server_computes_what_comes_as_picture_meanwhile() -> None:
    # The picture takes 1 to send and 1 on the way, the server 6, the tail 5, the answer 1; the device is done before.
    assert finish_ms(schedule_steps(slices(2, 4, 1, 6), 1, SLOW)) == 14
    steps = schedule_steps(slices(2, 4, 1, 6), 2, SLOW)
    assert sum(step.ms for step in steps if step.resource == "device") == 0


def test_scales_and_rates_apply() -> None:
    state = ChannelState(uplink=16e3, rtt_ms=0, device_scale=3, server_scale=0.5)
    assert finish_ms(schedule_steps(slices(1, 10, 10, 9), 0, state)) == 30 + 5 + 2.5


def test_more_raw_slices_than_there_are() -> None:
    with pytest.raises(InputError, match="3 of 2 slices"):
        schedule_steps(slices(2, 1, 1, 1), 3, SLOW)


def test_the_device_alone_is_always_there() -> None:
    assert best_schedule([slices(2, 5, 1000, 9, 1000)], 12, ChannelState(8e3, 2, 2)) == Schedule(None, 0, 24)


figures = st.floats(0, 50)
costs = st.builds(SliceCost, figures, figures, figures, figures, figures, figures)
heads = st.builds(SlicedHead, st.integers(0, 5), st.lists(costs, min_size=1, max_size=4).map(tuple), figures)
states = st.builds(ChannelState, st.floats(1e3, 1e6), figures, st.floats(0.1, 10), st.floats(0.1, 10))


@given(st.lists(heads, max_size=4), figures, states)
def test_the_best_is_no_worse_than_any_and_one_of_them(
    ways: list[SlicedHead], local_ms: float, state: ChannelState
) -> None:
    best = best_schedule(ways, local_ms, state)
    every = [finish_ms(schedule_steps(way, raw, state)) for way in ways for raw in range(len(way.slices) + 1)]
    assert best.latency_ms == min([*every, local_ms * state.device_scale])
    if best.head is not None:
        assert finish_ms(schedule_steps(best.head, best.raw, state)) == best.latency_ms
