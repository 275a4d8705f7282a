import random
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cutpoint.sdk.errors import DeadlineExceeded, Overloaded, ServerDraining
from cutpoint.server.batching import Batch, BatchQueue, Share
from cutpoint.server.fairness import Job

EARLY, LATE, FIXED = ("m", 1, "fp32"), ("m", 4, "fp32"), ("m", 2, "int8")


def batch_queue(
    workers: int = 1, capacity: int = 100, largest: int = 8, window: float = 0.0, seconds: float = 0.01
) -> BatchQueue[str]:
    queue: BatchQueue[str] = BatchQueue(workers, capacity, largest, window)
    queue.add_tail(EARLY, seconds, batches=True)
    queue.add_tail(LATE, seconds, batches=True)
    queue.add_tail(FIXED, seconds, batches=False)
    return queue


def teach(queue: BatchQueue[str], tail: tuple[int, str] = EARLY, fixed: float = 0.009, each: float = 0.001) -> float:
    """Runs batches of 1, 2, 4, 8 that take `fixed` + size · `each`. Returns the clock."""
    now = 0.0
    for _ in range(12):
        for number in range(8):
            queue.put(f"teach {number}", "teacher", tail, 0.0, now)
        while (batch := queue.next_batch(now)) is not None:
            now += fixed + each * len(batch.jobs)
            queue.finish(batch, now)
    return now


def works(batch: Batch[str] | None) -> list[str]:
    assert batch is not None
    return [job.work for job in batch.jobs]


def refused(queue: BatchQueue[str]) -> dict[str, type[Exception]]:
    return {job.work: type(error) for job, error in queue.take_refused()}


def test_the_first_sample_does_not_wait_and_those_behind_it_go_together() -> None:
    queue = batch_queue()
    now = teach(queue)
    queue.put("first", "a", EARLY, 0.0, now)
    first = queue.next_batch(now)
    assert works(first) == ["first"]
    for number in range(5):
        queue.put(f"{number}", f"user {number}", EARLY, 0.0, now)
    queue.put("other tail", "b", LATE, 0.0, now)
    assert first is not None
    queue.finish(first, now + 0.01)
    assert works(queue.next_batch(now + 0.01)) == ["0", "1", "2", "3", "4"]
    assert (queue.waiting, queue.running) == (1, 1)


def test_a_tail_without_free_batch_axis_gets_single_samples() -> None:
    queue = batch_queue()
    now = teach(queue, FIXED)
    for number in range(4):
        queue.put(f"{number}", "a", FIXED, 0.0, now)
    assert works(queue.next_batch(now)) == ["0"]


def test_size_is_the_cheapest_per_sample() -> None:
    dear, cheap = batch_queue(), batch_queue()
    for queue, fixed, each, size in ((dear, 0.0, 0.01, 1), (cheap, 0.009, 0.001, 8)):
        now = teach(queue, fixed=fixed, each=each)
        for number in range(20):
            queue.put(f"{number}", "a", EARLY, 0.0, now)
        assert len(works(queue.next_batch(now))) == size


def test_batches_are_longer_where_more_waits() -> None:
    # One takes 10 ms, two 16, four 28, eight 52: cheaper and cheaper, but more than twice as long as one.
    sizes = {}
    for waiting in (4, 8, 16, 32):
        queue = batch_queue()
        now = teach(queue, fixed=0.004, each=0.006)
        for _ in range(3):
            for number in range(waiting):
                queue.put(f"{number}", f"user {number}", EARLY, 0.0, now)
            batch = queue.next_batch(now)
            sizes[waiting] = len(works(batch))
            while batch is not None:
                now += 0.004 + 0.006 * len(batch.jobs)
                queue.finish(batch, now)
                batch = queue.next_batch(now)
    assert sizes == {4: 2, 8: 4, 16: 8, 32: 8}


def test_nobody_is_made_late_by_company() -> None:
    queue = batch_queue()
    now = teach(queue)  # one takes 10 ms, two 11, four 13, eight 17
    queue.put("hurry", "a", EARLY, 0.0125, now)
    for number in range(7):
        queue.put(f"{number}", f"user {number}", EARLY, 0.0, now)
    batch = queue.next_batch(now)
    assert works(batch)[0] == "hurry"
    assert len(works(batch)) == 2
    assert batch is not None
    assert batch.expected <= 0.0125


def test_who_cannot_make_it_is_computed_only_if_nobody_else_waits() -> None:
    queue = batch_queue()
    now = teach(queue)
    queue.put("hopeless", "a", EARLY, 0.001, now)
    for number in range(7):
        queue.put(f"{number}", f"user {number}", EARLY, 0.0, now)
    batch = queue.next_batch(now)
    assert works(batch) == [*"0123456"]
    assert refused(queue) == {"hopeless": DeadlineExceeded}
    assert batch is not None
    queue.finish(batch, now + 0.016)
    queue.put("hopeless", "a", EARLY, 0.001, now + 0.016)
    assert works(queue.next_batch(now + 0.016)) == ["hopeless"]


def test_who_is_let_in_is_done_in_time_even_if_all_takes_longer() -> None:
    queue = batch_queue(largest=1)
    queue.put("first", "a", EARLY, 0.0, 0.0)
    assert works(queue.next_batch(0.0)) == ["first"]
    queue.put("in time", "b", EARLY, 0.0251, 0.0)  # 10 ms until its turn, 10 ms for it, and a quarter of both
    with pytest.raises(Overloaded):
        queue.put("late", "c", EARLY, 0.0249, 0.0)


def test_the_earliest_deadline_first_within_a_user_and_the_late_ones_are_told() -> None:
    queue = batch_queue(largest=1, workers=9)
    for name, budget in (("patient", 0.0), ("soon", 0.2), ("now", 0.05), ("later", 0.5)):
        queue.put(name, "a", EARLY, budget, 0.0)
    assert works(queue.next_batch(0.1)) == ["soon"]
    assert refused(queue) == {"now": DeadlineExceeded}
    assert queue.take_refused() == []
    assert works(queue.next_batch(0.1)) == ["later"]
    assert works(queue.next_batch(99.0)) == ["patient"]
    assert queue.next_batch(99.0) is None


def test_cancelling_one_leaves_the_others_alone() -> None:
    queue = batch_queue()
    now = teach(queue)
    jobs = [queue.put(f"{number}", f"user {number}", EARLY, 0.0, now) for number in range(6)]
    queue.cancel(jobs[0])
    queue.cancel(jobs[3])
    queue.cancel(jobs[3])
    batch = queue.next_batch(now)
    assert works(batch) == ["1", "2", "4", "5"]
    queue.cancel(jobs[1])  # in the batch already: it stays there
    assert batch is not None
    queue.finish(batch, now + 0.01)
    assert (queue.waiting, queue.running) == (0, 0)


def test_window_holds_a_batch_until_it_is_full_old_or_urgent() -> None:
    queue = batch_queue(window=0.02)
    now = teach_with_window(queue)
    queue.put("0", "a", EARLY, 0.0, now)
    assert queue.next_batch(now + 0.019) is None
    assert queue.wake_at() == pytest.approx(now + 0.02)
    assert works(queue.next_batch(now + 0.021)) == ["0"]
    for number in range(8):
        assert queue.next_batch(now + 0.03) is None
        queue.put(f"{number}", "a", EARLY, 0.0, now + 0.03)
    assert len(works(queue.next_batch(now + 0.03))) == 8
    queue.put("urgent", "b", EARLY, 0.025, now + 0.04)
    assert queue.wake_at() < now + 0.04 + 0.025 - 0.009
    assert queue.next_batch(now + 0.04) is None
    assert works(queue.next_batch(now + 0.056)) == ["urgent"]
    assert queue.wake_at() == inf


def teach_with_window(queue: BatchQueue[str]) -> float:
    now = 0.0
    for size in (1, 2, 4, 8) * 3:
        for number in range(size):
            queue.put(f"{number}", "teacher", EARLY, 0.0, now)
        now += 1.0  # longer than any window
        while (batch := queue.next_batch(now)) is not None:
            now += 0.009 + 0.001 * len(batch.jobs)
            queue.finish(batch, now)
    return now


def test_a_light_user_does_not_wait_for_a_flood() -> None:
    queue = batch_queue(largest=1)
    for number in range(90):
        queue.put(f"flood {number}", "flood", EARLY, 0.0, 0.0)
    running = queue.next_batch(0.0)
    assert running is not None
    flooded, light = queue.wait("flood", 0.0), queue.wait("light", 0.0)
    assert flooded == pytest.approx(0.9, rel=0.01)
    assert light <= 0.0201
    queue.put("light", "light", EARLY, 0.04, 0.001)  # its budget is enough, and it is not refused
    with pytest.raises(Overloaded, match="budget is 40 ms") as refusal:
        queue.put("flood 90", "flood", EARLY, 0.04, 0.001)
    assert refusal.value.retry_after == pytest.approx(1.25 * 0.92 - 0.04, rel=0.05)
    queue.finish(running, 0.01)
    assert works(queue.next_batch(0.01)) == ["light"]


def test_an_idle_server_refuses_nothing() -> None:
    queue = batch_queue(seconds=100.0)  # however wrong the expectation is
    job = queue.put("one", "a", EARLY, 0.001, 0.0)
    assert job.waiting
    assert queue.wait("b", 0.0) > 0


def test_a_full_queue_refuses_whoever_fills_it() -> None:
    queue = batch_queue(capacity=10)
    for number in range(10):
        queue.put(f"{number}", "flood", EARLY, 10.0 - number, 0.0)
    with pytest.raises(Overloaded, match="10 requests are waiting") as refusal:
        queue.put("one more", "flood", EARLY, 0.0, 0.0)
    assert refusal.value.retry_after is not None
    assert refusal.value.retry_after >= 0.1
    queue.put("light", "light", EARLY, 0.0, 0.0)
    assert refused(queue) == {"0": Overloaded}  # the one with the most time left
    assert queue.waiting == 10
    # Weight counts: four times the share may have four times the room.
    for number in range(3):
        queue.put(f"more {number}", "light", EARLY, 0.0, 0.0, weight=4.0)
    assert len(refused(queue)) == 3
    assert queue.waiting == 10


def test_one_users_samples_make_no_long_batch_where_others_are_about() -> None:
    queue = batch_queue()
    now = teach(queue, fixed=0.0001, each=0.00006)

    def flood() -> Batch[str]:
        while queue.waiting < 8:
            queue.put("flood", "flood", EARLY, 0.0, now)
        batch = queue.next_batch(now)
        assert batch is not None
        return batch

    alone = flood()
    assert len(alone.jobs) == 8
    queue.put("light", "light", EARLY, 0.0, now)
    queue.finish(alone, now + 0.0006)
    both = flood()
    assert works(both)[0] == "light"
    assert 1 < len(both.jobs) < 8
    queue.finish(both, now + 0.0005)
    assert flood().expected <= 0.0005  # the next one may come any time
    # Many users with a sample each still make a large one.
    for number in range(8):
        queue.put(f"{number}", f"user {number}", EARLY, 0.0, now)
    assert works(queue.next_batch(now)) == [*"01234567"]


def test_company_that_costs_nothing_is_welcome() -> None:
    queue = batch_queue()
    now = teach(queue, fixed=0.002, each=0.00001)  # as on a GPU
    queue.put("light", "light", EARLY, 0.0, now)
    for _ in range(8):
        queue.put("flood", "flood", EARLY, 0.0, now)
    assert len(works(queue.next_batch(now))) == 8


def test_giving_up_tells_everybody() -> None:
    queue = batch_queue()
    for name in "abc":
        queue.put(name, name, EARLY, 0.0, 0.0)
    queue.give_up(ServerDraining("gone"))
    assert refused(queue) == dict.fromkeys("abc", ServerDraining)
    assert queue.waiting == 0


def simulate(weights: dict[str, float], rates: dict[str, float], seconds: float) -> tuple[Counter[str], list[float]]:
    """Open-loop users on one worker: served samples of each user, and the light user's waits."""
    rng = random.Random(1)
    queue = batch_queue(capacity=200, largest=1)
    arrivals = sorted(
        ((number + rng.uniform(0, 0.5)) / rate, name)
        for name, rate in rates.items()
        for number in range(int(rate * seconds))
    )
    served: Counter[str] = Counter()
    waits: list[float] = []
    now, batch = 0.0, None
    for t, name in [*arrivals, (seconds, "")]:
        while batch is None or batch.started + 0.01 <= t:
            if batch is not None:
                now = batch.started + 0.01
                queue.finish(batch, now)
            batch = queue.next_batch(now)
            if batch is None:
                break
            job = batch.jobs[0]
            served[job.work] += 1
            if job.work == "light":
                waits.append(now - job.arrived)
        now = max(now, t)
        if name:
            with suppress(Overloaded):
                queue.put(name, name, EARLY, 0.0, t, weights.get(name, 1.0))
            queue.take_refused()
            if batch is None:
                batch = queue.next_batch(t)
                if batch is not None:
                    served[name] += 1
    return served, waits


def test_shares_under_overload_follow_the_weights() -> None:
    served, _ = simulate({"gold": 3.0}, {"gold": 200, "plain": 200, "light": 5}, 20.0)
    assert served["light"] >= 95  # asks for less than its share, and gets it
    assert served["gold"] / served["plain"] == pytest.approx(3.0, rel=0.15)


def test_a_light_users_wait_stays_below_two_services_whatever_the_others_do() -> None:
    _, waits = simulate({}, {"flood": 1000, "light": 5}, 20.0)
    assert len(waits) > 80
    assert max(waits) <= 0.0201


class Storm(RuleBasedStateMachine):
    """Arrivals, cancellations and workers in any order: each sample has one end, and the queue's sums are right."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = batch_queue(workers=2, capacity=12, largest=4)
        self.now = 0.0
        self.jobs: dict[int, Job[str]] = {}
        self.batches: list[Batch[str]] = []
        self.ends: Counter[int] = Counter()

    def ended(self, jobs: Iterable[Job[str]]) -> None:
        for job in jobs:
            self.ends[job.number] += 1
            del self.jobs[job.number]

    @rule(
        user=st.sampled_from("abcd"), tail=st.sampled_from([EARLY, LATE, FIXED]), budget=st.sampled_from([0, 0.02, 1])
    )
    def arrive(self, user: str, tail: tuple[int, str], budget: float) -> None:
        with suppress(Overloaded):
            job = self.queue.put(user, user, tail, budget, self.now)
            self.jobs[job.number] = job
        self.ended(job for job, _ in self.queue.take_refused())

    @rule(choice=st.randoms(use_true_random=False))
    def cancel(self, choice: random.Random) -> None:
        if self.jobs:
            job = self.jobs[choice.choice(sorted(self.jobs))]
            waited = job.waiting
            self.queue.cancel(job)
            if waited:
                self.ended([job])

    @rule()
    def work(self) -> None:
        if self.queue.running < 2 and (batch := self.queue.next_batch(self.now)) is not None:
            assert len({job.tail for job in batch.jobs}) == 1
            assert len(batch.jobs) <= (1 if batch.tail == FIXED else 4)
            assert all(job.deadline > self.now for job in batch.jobs)
            self.batches.append(batch)
        self.ended(job for job, _ in self.queue.take_refused())

    @rule(took=st.floats(0.0, 0.05))
    def finish(self, took: float) -> None:
        self.now += took
        if self.batches:
            batch = self.batches.pop(0)
            self.queue.finish(batch, self.now)
            self.ended(batch.jobs)

    @invariant()
    def sums(self) -> None:
        assert all(count == 1 for count in self.ends.values())
        assert self.queue.waiting == sum(job.waiting for job in self.jobs.values()) <= 12
        assert self.queue.running == len(self.batches)
        assert all(self.queue.wait(user, self.now) >= 0 for user in "abcd")

    def teardown(self) -> None:
        for _ in range(len(self.jobs) + 1):
            self.finish(0.01)
            self.work()
        while self.batches:
            self.finish(0.01)
        assert not self.jobs
        assert self.queue.waiting == 0


TestStorm = Storm.TestCase


@given(st.lists(st.floats(0.001, 2.0), min_size=1, max_size=30))
def test_waits_add_up_to_the_work(budgets: list[float]) -> None:
    queue = batch_queue(largest=1)
    for number, _ in enumerate(budgets):
        queue.put(f"{number}", "one", EARLY, 0.0, 0.0)
    assert queue.wait("one", 0.0) == pytest.approx(0.01 * len(budgets))


@pytest.mark.parametrize("window", [0.0, 0.5])
def test_a_model_gets_no_more_workers_than_its_share(window: float) -> None:
    other = ("other", 1, "fp32")
    queue = batch_queue(workers=3, window=window)
    queue.add_tail(other, 0.01, batches=False)
    queue.limit("other", Share(workers=1))
    for number in range(3):
        queue.put(f"other {number}", "one", other, 0.0, 0.0)
    first = queue.next_batch(1.0)
    assert first is not None
    assert queue.next_batch(1.0) is None
    assert queue.wake_at() == inf  # nothing is due as long as its worker is busy
    queue.put("mine", "two", EARLY, 0.0, 1.0)
    mine = queue.next_batch(2.0)
    assert mine is not None
    assert mine.jobs[0].work == "mine"
    queue.finish(first, 2.0)
    second = queue.next_batch(2.0)
    assert second is not None
    assert second.jobs[0].work == "other 1"
    queue.limit("other", Share())
    assert queue.next_batch(2.0) is not None


def test_a_model_that_is_removed_takes_its_tails_with_it() -> None:
    queue = batch_queue()
    queue.limit("m", Share(queue=0))
    with pytest.raises(Overloaded, match="waiting for this model"):
        queue.put("x", "one", EARLY, 0.0, 0.0)
    queue.remove_model("m")
    with pytest.raises(KeyError):
        queue.put("x", "one", EARLY, 0.0, 0.0)
