"""The simulator beside real sockets, client and server on a virtual clock: what computes takes no time in either."""

import asyncio

import numpy as np
import pytest
from tests.support.toy import picture, toy_bundle

from cutpoint.calibration.simulate import Scenario, simulate, summarise
from cutpoint.sdk import Client, LinkTimes, Objective, StaticPolicy
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.testing import LinkEmulator, Trace, VirtualLoop
from cutpoint.server import EdgeServer, Settings

REQUESTS, PERIOD, RTT = 25, 0.5, 0.05


async def latencies(bundle: Bundle, point: Point, trace: Trace) -> list[float]:
    """Milliseconds of each request over the emulator."""
    loop = asyncio.get_running_loop()
    server = await asyncio.to_thread(EdgeServer, bundle, Settings(port=0, threads=1), loop.time)
    await server.start()
    found: list[float] = []
    policy, patient = StaticPolicy(point, bundle.points[0]), Objective(patience=1e9)
    times = LinkTimes(silence=1e9, probe=1e6)
    async with (
        LinkEmulator(server.url, trace, delay=RTT / 2) as link,
        Client(link.url, bundle, objective=patient, policy=policy, times=times, clock=loop.time) as client,
    ):
        link.rewind()
        began = loop.time()

        async def ask(due: float) -> None:
            await client.infer(picture(1))
            found.append((loop.time() - due) * 1e3)

        tasks = []
        for number in range(REQUESTS):
            due = began + 2.0 + number * PERIOD
            await asyncio.sleep(max(0.0, due - loop.time()))
            tasks.append(asyncio.create_task(ask(due)))
        await asyncio.gather(*tasks)
    await server.stop()
    return found


@pytest.mark.parametrize(
    "trace",
    [Trace.constant(2e5), Trace((2e5, 5e4, 4e5, 1e5), step=1.0), Trace((3e5, 3e5, 0.0), step=1.0)],
    ids=["steady", "changing", "outages"],
)
def test_a_simulated_link_takes_as_long_as_the_emulated_one(trace: Trace) -> None:
    bundle = toy_bundle()
    point = bundle.points[bundle.point_number("cut0-raw-exact")]
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        real = runner.run(latencies(bundle, point, trace))
    scenario = Scenario(
        trace,
        RTT,
        device_scale=1e-9,
        server_scale=1e-9,
        period=PERIOD,
        requests=REQUESTS,
        answer_bytes=12,
        probe=1e9,
    )
    simulated = simulate(scenario, StaticPolicy(point, bundle.points[0]))
    figures = summarise(simulated, scenario.energy)
    assert figures.p50_ms == pytest.approx(np.median(real), rel=0.1)
    assert figures.mean_ms == pytest.approx(np.mean(real), rel=0.1)
