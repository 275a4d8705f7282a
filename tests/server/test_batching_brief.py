"""Tails that are shorter than handing them over: of all of them one batch is computed at a time."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.server.batching import Batch, BatchQueue, Share

LATE, LATER, LONG = ("m", 7, "fp32"), ("other", 8, "fp32"), ("m", 3, "fp32")


def with_brief(workers: int = 2, window: float = 0.0) -> BatchQueue[str]:
    queue: BatchQueue[str] = BatchQueue(workers, capacity=100, largest=1, window=window)
    queue.add_tail(LATE, 0.0001, batches=True, brief=True)
    queue.add_tail(LATER, 0.0001, batches=True, brief=True)
    queue.add_tail(LONG, 0.01, batches=True)
    return queue


def works(batch: Batch[str] | None) -> list[str]:
    return [job.work for job in batch.jobs] if batch is not None else []


def test_a_second_worker_keeps_away_from_brief_tails_alone() -> None:
    queue = with_brief()
    for work, tail in (("late", LATE), ("later", LATER), ("long", LONG)):
        queue.put(work, work, tail, 0.0, 0.0)
    first = queue.next_batch(0.0)
    assert first is not None
    assert (works(first), first.brief) == (["late"], True)
    second = queue.next_batch(0.0)
    assert second is not None
    assert (works(second), second.brief) == (["long"], False)
    queue.workers = 3
    assert queue.next_batch(0.0) is None
    queue.finish(second, 0.01)
    assert queue.next_batch(0.01) is None
    queue.finish(first, 0.01)
    assert works(queue.next_batch(0.01)) == ["later"]


def test_brief_tails_wait_for_one_worker_and_keep_all_busy() -> None:
    queue = with_brief()
    queue.put("a", "one", LATE, 0.0, 0.0)
    first = queue.next_batch(0.0)
    assert first is not None
    assert queue.busy == 1
    for work in "bcd":
        queue.put(work, work, LATE, 0.0, 0.0)
    assert queue.busy == 2
    assert queue.wait("somebody", 0.0) == pytest.approx(4 * 0.0001)
    queue.put("long", "two", LONG, 0.0, 0.0)
    assert queue.busy == 1
    second = queue.next_batch(0.0)
    assert works(second) == ["long"]
    assert queue.wait("somebody", 0.0) == pytest.approx(4 * 0.0001, rel=0.1), "what is long is not in the way"


def test_a_brief_batch_that_waits_for_company_is_not_due_while_another_is_computed() -> None:
    queue = with_brief(window=0.002)
    queue.put("a", "one", LATE, 0.0, 0.0)
    first = queue.next_batch(0.002)
    assert first is not None
    queue.put("b", "one", LATER, 0.0, 0.002)
    assert queue.wake_at() == inf
    queue.finish(first, 0.003)
    assert queue.wake_at() < inf
    assert works(queue.next_batch(0.004)) == ["b"]


def test_a_model_that_goes_takes_its_brief_tails_with_it() -> None:
    queue = with_brief()
    queue.limit("other", Share(workers=0))
    queue.put("later", "one", LATER, 0.0, 0.0)
    assert queue.next_batch(0.0) is None
    queue.limit("other", Share())
    assert works(queue.next_batch(0.0)) == ["later"]
    queue.remove_model("m")
    assert queue._brief == {LATER}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([LATE, LATER, LONG])), max_size=30), st.integers(1, 4)
)
def test_everybody_is_served_and_never_two_brief_ones_at_a_time(asked: list[tuple[str, tuple]], workers: int) -> None:
    queue = with_brief(workers)
    for number, (user, tail) in enumerate(asked):
        queue.put(str(number), user, tail, 0.0, 0.0)
    running: list[Batch[str]] = []
    served: list[str] = []
    now = 0.0
    while queue.waiting or running:
        while len(running) < workers and (batch := queue.next_batch(now)) is not None:
            running.append(batch)
        assert running, "something waits, and no worker has anything to do"
        assert sum(batch.brief for batch in running) <= 1
        assert len(running) <= queue.busy <= workers
        now += 0.001
        done = running.pop(0)
        served += works(done)
        queue.finish(done, now)
    assert sorted(served, key=int) == [str(number) for number in range(len(asked))]
