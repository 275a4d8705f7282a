from dataclasses import replace
from importlib.resources import as_file, files

import numpy as np
import pytest

from cutpoint.calibration.allocation import Crowd, queue_problem, updates_to_settle
from cutpoint.calibration.allocation.problem import divided_problem
from cutpoint.calibration.simulate import Population, ServerScenario
from cutpoint.sdk import Bundle, InputError, Objective
from cutpoint.server.pricing import CongestionPrice

WANTED = (Objective(), Objective.preset("balanced"))
PEOPLE = Population(device_scale=(50.0, 400.0), period=(1.0, 4.0))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    with as_file(files("cutpoint.demo").joinpath("scenes.cutpoint")) as path:
        return Bundle.open(path)


def crowd(bundle: Bundle, users: int, scale: float, seconds: float = 50.0, step: float = 0.0) -> Crowd:
    """Users of the demo's network; with `step`, every other one begins that much later."""
    scenarios = PEOPLE.draw(users, seconds, scale, bundle.manifest.boundaries[-1].nbytes, seed=1)
    for number in range(1, users if step else 0, 2):
        late = scenarios[number]
        requests = max(1, round((seconds - step) / late.period))
        scenarios[number] = replace(late, begin=late.begin + step, requests=requests)
    objectives = [WANTED[number // 2 % 2] for number in range(users)]
    return Crowd(bundle, scenarios, objectives, ServerScenario(scale=scale))


@pytest.mark.parametrize(("users", "scale"), [(2, 20.0), (20, 20.0), (100, 20.0)])
def test_clients_that_follow_the_price_cost_what_the_central_solver_does(
    bundle: Bundle, users: int, scale: float
) -> None:
    people = crowd(bundle, users, scale)
    cost = {rule: people.summarise(people.run(rule)).cost for rule in ("price", "central", "device")}
    assert cost["price"] <= 1.05 * cost["central"]
    assert cost["price"] < cost["device"]


def test_a_price_keeps_the_queue_short_where_everybody_looks_to_himself(bundle: Bundle) -> None:
    people = crowd(bundle, 100, 30.0)
    priced, blind, static = (people.summarise(people.run(rule)) for rule in ("price", "price-blind", "static"))
    assert priced.cost < 0.95 * blind.cost < 0.5 * static.cost
    assert priced.p95_ms < blind.p95_ms
    assert priced.utilisation < blind.utilisation <= 1.0


def test_settles_within_twenty_updates_of_a_step_and_would_not_with_a_hasty_price(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = crowd(bundle, 100, 40.0, seconds=90.0, step=30.0)
    calm = [people.run("price", repeat) for repeat in range(4)]
    assert updates_to_settle(people, calm, 32.0) <= 20
    monkeypatch.setattr(
        "cutpoint.calibration.simulate.server.CongestionPrice", lambda workers: CongestionPrice(workers, memory=0.5)
    )
    spread = people.summarise(calm[0]).price_spread
    assert people.summarise(people.run("price")).price_spread > 3 * spread


def test_a_step_that_takes_long_is_seen_to(bundle: Bundle) -> None:
    people = crowd(bundle, 30, 5.0, seconds=70.0, step=20.0)
    world = people.run("device")
    assert updates_to_settle(people, [world], 22.0) == 0
    for outcomes in world.outcomes:
        for outcome in outcomes:
            outcome.latency_ms *= 1.5 if 22.0 <= outcome.at < 40.0 else 1.0
    assert 14 <= updates_to_settle(people, [world], 22.0) <= 19


def test_problem_holds_what_a_request_alone_costs(bundle: Bundle) -> None:
    people = crowd(bundle, 6, 10.0)
    world = people.run("device")
    local = int(people.choices("device")[0])
    # Those to whom energy is worth something pay for probes, too.
    for user in (0, 1, 4, 5):
        each = people.problem.cost[user, local] * people._scenarios[user].period
        assert people.costs(user, world.outcomes[user]).min() == pytest.approx(each)
    assert (people.problem.load[:, [p.local for p in people.options]] == 0).all()
    total = people.problem.total
    assert all(
        people.allocation.cost <= total(people.choices(rule)) for rule in ("central", "static", "edge", "device")
    )


def test_divided_problem_counts_computation_as_congestion(bundle: Bundle) -> None:
    people = crowd(bundle, 4, 10.0)
    given = people._scenarios, people._objectives, people.options, people._server
    whole, divided = queue_problem(*given), divided_problem(*given)
    remote = np.array([not p.local for p in people.options])
    # With the whole server for each request alone, it takes the load squared.
    assert divided.cost + 1e3 * divided.load**2 == pytest.approx(whole.cost)
    assert (divided.cost[:, remote] < whole.cost[:, remote]).all()


def test_what_has_no_common_price_is_refused(bundle: Bundle) -> None:
    scenarios = PEOPLE.draw(2, 30.0, 1.0, 40, seed=0)
    for other in (Objective.preset("energy"), Objective(accuracy_drop=0.1)):
        with pytest.raises(InputError, match="need one accuracy floor"):
            Crowd(bundle, scenarios, [Objective(), other], ServerScenario())
    people = crowd(bundle, 2, 1.0, seconds=5.0)
    with pytest.raises(InputError, match="more seconds"):
        people.window()
    with pytest.raises(InputError, match="rule 'fair'"):
        people.run("fair")
