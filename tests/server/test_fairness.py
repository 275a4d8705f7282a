from collections import Counter
from math import inf

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cutpoint.server.fairness import FairQueue, Job, TailKey, User

TAIL = ("m", 1, "fp32")


class Everything:
    def __contains__(self, _: object) -> bool:
        return True


def add(
    queue: FairQueue[str], name: str, number: int, charge: float = 1.0, deadline: float = inf, weight: float = 1.0
) -> Job[str]:
    user = queue.user(name)
    user.weight = weight
    job = Job(deadline, number, 0.0, TAIL, name, user, charge)
    queue.add(job)
    return job


def serve(queue: FairQueue[str], count: int) -> list[Job[str]]:
    served = []
    for _ in range(count):
        job = next(queue.turns(Everything()))
        queue.serve(job.user)
        queue.remove(job)
        job.user.pay(job.charge)
        served.append(job)
    return served


def test_who_floods_delays_himself() -> None:
    queue: FairQueue[str] = FairQueue(timed=True)
    for number in range(100):
        add(queue, "flood", number)
    serve(queue, 10)
    add(queue, "light", 100)
    assert [job.work for job in serve(queue, 2)].count("light") == 1


def test_shares_follow_weights_and_work_not_counts() -> None:
    queue: FairQueue[str] = FairQueue(timed=True)
    for number in range(300):
        add(queue, "heavy", number, weight=2.0)
        add(queue, "light", 1000 + number)
        add(queue, "long", 2000 + number, charge=4.0)
    spent: Counter[str] = Counter()
    for job in serve(queue, 200):
        spent[job.work] += int(job.charge)
    assert abs(spent["heavy"] - 2 * spent["light"]) <= 4
    assert abs(spent["long"] - spent["light"]) <= 4


def test_a_pause_saves_nothing_up() -> None:
    queue: FairQueue[str] = FairQueue(timed=True)
    add(queue, "early", 0)
    serve(queue, 1)
    for number in range(1, 60):
        add(queue, "busy", number)
    serve(queue, 30)
    for number in range(100, 130):
        add(queue, "early", number)
    names = [job.work for job in serve(queue, 20)]
    assert names.count("early") == 10


def test_earliest_deadline_first_within_a_user() -> None:
    queue: FairQueue[str] = FairQueue(timed=True)
    for number, deadline in enumerate((5.0, inf, 1.0, 3.0, 1.0)):
        add(queue, "one", number, deadline=deadline)
    assert [job.number for job in serve(queue, 5)] == [2, 4, 3, 0, 1]


def test_forgotten_users_do_not_pile_up() -> None:
    queue: FairQueue[str] = FairQueue(timed=True)
    add(queue, "steady", 0)
    for number in range(1, 5000):
        add(queue, f"passer-by {number}", number)
        add(queue, "steady", number + 10_000)
        serve(queue, 2)
    assert len(queue._resting) < 300


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 5), st.sampled_from([1.0, 2.0, inf])), max_size=60))
def test_adding_and_removing_in_any_order_adds_up(entries: list[tuple[str, float, float]]) -> None:
    queue: FairQueue[str] = FairQueue(timed=True)
    jobs = [add(queue, name, i, charge, deadline) for i, (name, charge, deadline) in enumerate(entries)]
    assert queue.count == len(jobs)
    for job in jobs[::2]:
        queue.remove(job)
    left = jobs[1::2]
    assert queue.count == len(left)
    assert abs(queue.backlog - sum(job.charge for job in left)) < 1e-9
    assert sorted(job.number for job in serve(queue, len(left))) == [job.number for job in left]
    assert (queue.count, queue.backlog, list(queue.users())) == (0, 0.0, [])


TAILS: tuple[TailKey, ...] = (TAIL, ("m", 4, "fp32"), ("n", 2, "int8"))


class Reference(RuleBasedStateMachine):
    """What the queue finds with heaps and sums is what looking at every waiting job finds."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[str] = FairQueue(timed=True)
        self.jobs: list[Job[str]] = []
        self.users: dict[str, User[str]] = {}  # who wait, in the order in which they began to
        self.number = 0

    def gone(self, job: Job[str]) -> None:
        self.jobs.remove(job)
        if not any(other.user is job.user for other in self.jobs):
            del self.users[job.work]

    @rule(
        name=st.sampled_from("abcdefgh"),
        tail=st.sampled_from(TAILS),
        deadline=st.sampled_from([1.0, 2.0, 3.0, inf]),
        charge=st.sampled_from([0.0, 0.5, 1.0, 4.0]),
        copies=st.sampled_from([1, 1, 3, 40]),
    )
    def add(self, name: str, tail: TailKey, deadline: float, charge: float, copies: int) -> None:
        for _ in range(copies):
            user = self.queue.user(name)
            job = Job(deadline, self.number, float(self.number // 4), tail, name, user, charge)
            self.number += 1
            self.queue.add(job)
            self.jobs.append(job)
            self.users.setdefault(name, user)

    @rule(name=st.sampled_from("abcdefgh"), weight=st.sampled_from([0.5, 1.0, 3.0]))
    def weigh(self, name: str, weight: float) -> None:
        self.queue.weigh(self.queue.user(name), weight)

    @rule(place=st.integers(0, 1000), step=st.integers(1, 9))
    def cancel(self, place: int, step: int) -> None:
        for job in self.jobs[place % (len(self.jobs) + 1) :: step]:
            self.queue.remove(job)
            self.gone(job)

    @rule(tails=st.sets(st.sampled_from(TAILS), min_size=1), most=st.integers(1, 20))
    def serve(self, tails: set[TailKey], most: int) -> None:
        turns = self.queue.turns(tails)
        for _ in range(most):
            firsts = [
                min(its)
                for user in self.users.values()
                if (its := [job for job in self.jobs if job.user is user and job.tail in tails])
            ]
            expected = min(firsts, key=lambda job: (job.user.virtual, job.number), default=None)
            job = next(turns, None)
            assert job is expected
            if job is None:
                return
            self.queue.serve(job.user)
            self.queue.remove(job)
            job.user.pay(job.charge)
            self.gone(job)

    @invariant()
    def found(self) -> None:
        users = list(self.users.values())
        assert self.queue.heaviest() is max(users, key=lambda user: user.count / user.weight, default=None)
        for model in "mn":
            assert self.queue.count_model(model) == sum(job.tail[0] == model for job in self.jobs)
        assert set(self.queue.lines) == {job.tail for job in self.jobs}
        for tail, line in self.queue.lines.items():
            its = [job for job in self.jobs if job.tail == tail]
            assert line.count == len(its)
            assert line.deadline() == min(job.deadline for job in its)
            assert line.arrived() == min(job.arrived for job in its)
        for asking in users:
            for share in (0.3, 1.0, 5.0):
                exact = sum(min(user.backlog, share * user.weight) for user in users if user is not asking)
                assert exact - 1e-9 <= self.queue.others(asking, share) <= exact * 2**0.125 + 1e-9


TestReference = Reference.TestCase
