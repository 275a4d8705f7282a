"""Tails for what there is no room for otherwise: an exit answers where the whole tail would be late."""

import pytest

from cutpoint.sdk.errors import Overloaded
from cutpoint.server.batching import BatchQueue, Share

WHOLE, SHORT = ("m", 1, "fp32"), ("m", 1, "fp32+exit1")


def with_short(capacity: int = 100) -> BatchQueue[str]:
    queue: BatchQueue[str] = BatchQueue(workers=1, capacity=capacity, largest=8, window=0.0)
    queue.add_tail(WHOLE, 0.01, batches=True)
    queue.add_tail(SHORT, 0.002, batches=False, extra=True)
    return queue


def test_something_shorter_is_let_in_where_the_tail_would_be_late() -> None:
    queue = with_short()
    queue.put("first", "one", WHOLE, 0.0, 0.0)
    assert queue.next_batch(0.0) is not None
    # A worker is free in 10 ms, and a tail takes 10 more.
    with pytest.raises(Overloaded):
        queue.put("whole", "one", WHOLE, 0.016, 0.0)
    queue.put("short", "one", SHORT, 0.016, 0.0)
    with pytest.raises(Overloaded):
        queue.put("too late even so", "one", SHORT, 0.014, 0.0)


def test_as_many_again_may_wait_for_something_shorter() -> None:
    queue = with_short(capacity=3)
    for number in range(3):
        queue.put(f"whole {number}", "one", WHOLE, 0.0, 0.0)
    with pytest.raises(Overloaded):
        queue.put("whole", "one", WHOLE, 0.0, 0.0)
    for number in range(3):
        queue.put(f"short {number}", "one", SHORT, 0.0, 0.0)
    with pytest.raises(Overloaded):
        queue.put("short", "one", SHORT, 0.0, 0.0)
    # A user with less still takes the place of who has most.
    queue.put("another's", "two", SHORT, 0.0, 0.0)
    assert [job.work for job, _ in queue.take_refused()] == ["short 2"]


def test_a_models_own_limit_counts_twice_as_well() -> None:
    queue = with_short()
    queue.limit("m", Share(queue=1))
    queue.put("whole", "one", WHOLE, 0.0, 0.0)
    with pytest.raises(Overloaded):
        queue.put("whole", "one", WHOLE, 0.0, 0.0)
    queue.put("short", "one", SHORT, 0.0, 0.0)
    with pytest.raises(Overloaded):
        queue.put("short", "one", SHORT, 0.0, 0.0)
    while queue.next_batch(1.0):
        pass
    queue.remove_model("m")
    assert not queue._extra
