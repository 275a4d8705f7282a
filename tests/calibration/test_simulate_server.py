import pytest

from cutpoint.calibration.simulate.clock import VirtualClock
from cutpoint.calibration.simulate.server import ServerScenario, SimulatedServer, Work
from cutpoint.sdk.bundle import Measurement, Point

POINT = Point("cut", 1, 1, Measurement(0.9, 100, 100, 1, decode_ms=2, tail_ms=8), codec="c", tail_precision="fp32")


class Server:
    """A simulated server, and what it said when."""

    def __init__(self, scenario: ServerScenario) -> None:
        self.clock = VirtualClock()
        self.server = SimulatedServer(scenario, self.clock)
        self.said: list[tuple[str, str, float]] = []

    def ask(self, name: str, at: float, user: str = "me") -> Work:
        def say(what: str) -> None:
            self.said.append((name, what, round(self.clock.now, 6)))

        work = Work(self.server.seconds(POINT), lambda took: say(f"took {took:.3f}"), lambda: say("refused"))
        self.clock.at(at, lambda: self.server.submit(work, user, POINT))
        return work

    def run(self) -> list[tuple[str, str, float]]:
        self.clock.run(lambda: True)
        return self.said


def test_computes_one_after_the_other_on_each_worker() -> None:
    one = Server(ServerScenario(scale=2.0))
    two = Server(ServerScenario(workers=2, scale=2.0))
    for server in (one, two):
        server.ask("a", 1.0)
        server.ask("b", 1.01)
    assert one.run() == [("a", "took 0.020", 1.02), ("b", "took 0.030", 1.04)]
    assert two.run() == [("a", "took 0.020", 1.02), ("b", "took 0.020", 1.03)]
    assert one.server.busy_s == pytest.approx(0.04)


def test_a_cancelled_request_is_confirmed_and_leaves_the_queue() -> None:
    server = Server(ServerScenario())
    begun, waiting = server.ask("begun", 0.0), server.ask("waiting", 0.0)
    last = server.ask("last", 0.0)
    for work in (begun, waiting, waiting):
        server.clock.at(0.005, lambda work=work: server.server.cancel(work))  # type: ignore[misc]
    server.clock.at(1.0, lambda: server.server.cancel(last))  # long answered
    assert server.run() == [("begun", "refused", 0.005), ("waiting", "refused", 0.005), ("last", "took 0.020", 0.02)]


def test_a_full_queue_takes_from_who_has_most_in_it() -> None:
    server = Server(ServerScenario(max_queue=2))
    for name in ("1", "2", "3"):
        server.ask(name, 0.0, "flood")
    server.ask("light", 0.001, "light")
    assert ("3", "refused", 0.001) in server.run()
    assert {name for name, what, _ in server.said if what != "refused"} == {"1", "2", "light"}


def test_batches_form_while_workers_are_busy_and_cost_what_the_scenario_says() -> None:
    server = Server(ServerScenario(max_batch=4, batch_cost=0.0, batch_window=0.004))
    for round_ in range(40):
        for user in "abcd":
            server.ask(user, 0.05 * round_, user)
    said = server.run()
    assert len(said) == 160
    # Four at the price of one, after the sizes were tried.
    assert [what for _, what, at in said if at > 1.95] == ["took 0.010"] * 4


def test_a_batch_waits_for_company_as_long_as_its_window() -> None:
    server = Server(ServerScenario(max_batch=4, batch_window=0.05))
    for number in range(3):
        server.ask(str(number), 0.001 * number)
    server.ask("alone", 10.0)
    said = dict((name, what) for name, what, _ in server.run())
    assert set(said) == {"0", "1", "2", "alone"}
    assert all(float(what.removeprefix("took ")) < 0.1 for what in said.values())


def test_tells_each_user_his_own_queue_and_all_the_price() -> None:
    server = Server(ServerScenario())
    for number in range(20):
        server.ask(str(number), 0.0, "flood")
    seen = {}

    def look() -> None:
        seen.update({user: server.server.state(user) for user in ("flood", "light")})

    server.clock.at(0.045, look)
    server.run()
    assert seen["light"].queue_ms < 0.2 * seen["flood"].queue_ms
    assert seen["light"].price == seen["flood"].price > 0
    assert server.server.waiting == 0
