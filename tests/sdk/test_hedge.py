import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.support.waiting import until

from cutpoint.sdk.errors import GraphError, LinkError
from cutpoint.sdk.hedge import first_answer


class Way:
    """An answer that comes when it is told to."""

    def __init__(self) -> None:
        self.started = False
        self.cancelled = False
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        self.started = True
        try:
            return await self.outcome
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def race(edge: Way, device: Way, patience: float) -> Coroutine[Any, Any, Any]:
    return first_answer(edge(), device, patience)


async def test_edge_in_time_leaves_the_device_alone() -> None:
    edge, device = Way(), Way()
    edge.outcome.set_result("edge")
    answer = await race(edge, device, 10)
    assert (answer.edge, answer.device, answer.failure, answer.hedged) == ("edge", None, None, False)
    assert not device.started


async def test_edge_failure_starts_the_device_at_once() -> None:
    edge, device = Way(), Way()
    failure = LinkError("gone")
    edge.outcome.set_exception(failure)
    device.outcome.set_result("device")
    answer = await race(edge, device, 10)
    assert (answer.edge, answer.device, answer.failure, answer.hedged) == (None, "device", failure, False)


async def test_late_edge_races_the_device_and_may_still_win() -> None:
    edge, device = Way(), Way()
    task = asyncio.ensure_future(race(edge, device, 0))
    await until(lambda: device.started)
    edge.outcome.set_result("edge")
    answer = await task
    assert (answer.edge, answer.hedged) == ("edge", True)
    assert device.cancelled


async def test_device_wins_and_the_edge_is_cancelled() -> None:
    edge, device = Way(), Way()
    device.outcome.set_result("device")
    answer = await race(edge, device, 0)
    assert (answer.device, answer.failure, answer.hedged) == ("device", None, True)
    assert edge.cancelled


async def test_edge_failing_during_the_hedge_leaves_it_to_the_device() -> None:
    edge, device = Way(), Way()
    task = asyncio.ensure_future(race(edge, device, 0))
    await until(lambda: device.started)
    failure = LinkError("gone")
    edge.outcome.set_exception(failure)
    await settle()
    device.outcome.set_result("device")
    answer = await task
    assert (answer.device, answer.failure, answer.hedged) == ("device", failure, True)


async def test_device_failing_during_the_hedge_leaves_it_to_the_edge() -> None:
    edge, device = Way(), Way()
    task = asyncio.ensure_future(race(edge, device, 0))
    await until(lambda: device.started)
    device.outcome.set_exception(GraphError("broken"))
    await settle()
    edge.outcome.set_result("edge")
    assert (await task).edge == "edge"


async def test_both_failing_raises_the_devices_error_caused_by_the_edges() -> None:
    edge, device = Way(), Way()
    edge.outcome.set_exception(LinkError("gone"))
    device.outcome.set_exception(GraphError("broken"))
    with pytest.raises(GraphError, match="broken") as caught:
        await race(edge, device, 10)
    assert isinstance(caught.value.__cause__, LinkError)


@pytest.mark.parametrize("patience", [0, 10])
async def test_cancelling_cancels_both(patience: float) -> None:
    edge, device = Way(), Way()
    task = asyncio.ensure_future(race(edge, device, patience))
    await until(lambda: edge.started and (device.started or patience))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert edge.cancelled
    assert device.cancelled == device.started
