"""Real server processes that compute slices of the same request."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from tests.server.test_node_group import there
from tests.support.nodes import node_processes, numbers
from tests.support.sharing import WORK_SIDE, work_bundle

from cutpoint.codecs import Array
from cutpoint.sdk import Bundle, Client, InferenceResult
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail
from cutpoint.sdk.testing import ServerProcess

from .conftest import QUICK

POINT = "cut0-raw-exact"
#: Waits rather than computes, so that three servers on two processors are as fast as on three.
SLOW = ("--slowdown", "5")


@pytest.fixture(scope="module")
def work() -> Bundle:
    return work_bundle()


@pytest.fixture(scope="module")
def work_file(work: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sharing") / "work.cutpoint"
    work.save(path)
    return path


@pytest.fixture
async def three(work_file: Path) -> AsyncIterator[list[ServerProcess]]:
    """Servers that know each other."""
    async with node_processes(work_file, 3, *SLOW) as servers:
        await asyncio.gather(*(there(server.url, 3) for server in servers))
        yield servers


def picture(seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (1, WORK_SIDE, WORK_SIDE, 3)).astype(np.uint8)


def alone(work: Bundle, point_id: str, data: Array) -> Array:
    """What one machine alone answers at a point."""
    graphs = BundleGraphs(work, [create_runtime("onnx")])
    point = work.points[work.point_number(point_id)]
    payload = Head(graphs).run(point, (data,)).payload
    assert payload is not None
    return Tail(graphs).run(point, payload).outputs[0]


def computed(result: InferenceResult) -> set[str]:
    """Names of the nodes that computed something."""
    return {hop.tier for hop in result.hops if hop.compute_ms}


class Requests:
    """Requests one after the other, each of whose answers is compared with the whole model's."""

    def __init__(self, client: Client, work: Bundle, count: int = 4) -> None:
        self._client = client
        self._expected = [(picture(seed), alone(work, POINT, picture(seed))) for seed in range(count)]
        self._number = 0
        self.results: list[InferenceResult] = []

    async def ask(self) -> InferenceResult:
        data, expected = self._expected[self._number % len(self._expected)]
        self._number += 1
        result = await self._client.infer((data,), point=POINT)
        np.testing.assert_allclose(result.outputs[0], expected, atol=1e-4)
        self.results.append(result)
        return result

    async def ask_until(self, names: set[str]) -> InferenceResult:
        """Asks until one of the answers was computed by exactly these nodes."""
        async with asyncio.timeout(60):
            while computed(result := await self.ask()) != names:
                pass
        return result


async def test_several_servers_compute_one_request(work: Bundle, three: list[ServerProcess]) -> None:
    async with Client(three[0].url, work, mode="edge", times=QUICK) as client:
        requests = Requests(client, work)
        result = await requests.ask_until({"n0", "n1", "n2"})
        own = result.hops[0]
        assert own.tier == "n0"
        assert own.queue_ms + own.decode_ms + own.compute_ms <= own.total_ms
        for point in ("cut0-webp-q85", "cut1-raw-exact"):
            result = await client.infer((picture(9),), point=point)
            np.testing.assert_allclose(result.outputs[0], alone(work, point, picture(9)), atol=1e-4)

        # Cancelled requests end everywhere.
        asking = [asyncio.create_task(client.infer((picture(0),), point=POINT)) for _ in range(20)]
        await asyncio.gather(*(numbers(server.url) for server in three))
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        async with asyncio.timeout(10):
            for server in three:
                while (state := await numbers(server.url))["waiting"] or state["computing"]:
                    pass
        assert (await requests.ask()).source == "edge"


async def test_a_node_that_dies_or_stands_still_leaves_its_rows_to_others(
    work: Bundle, three: list[ServerProcess]
) -> None:
    entry, second, third = three
    async with Client(entry.url, work, mode="edge", times=QUICK) as client:
        requests = Requests(client, work)
        await requests.ask_until({"n0", "n1", "n2"})
        second.send_signal(signal.SIGSTOP)
        await requests.ask_until({"n0", "n2"})
        second.send_signal(signal.SIGCONT)
        await there(entry.url, 3)
        await requests.ask_until({"n0", "n1", "n2"})

        # Killed while it computes, with several requests under way.
        going = True

        async def keep_asking() -> None:
            while going:
                await requests.ask()

        asking = [asyncio.create_task(keep_asking()) for _ in range(3)]
        while not (await numbers(third.url))["computing"]:
            pass
        await third.kill()
        await there(entry.url, 2)
        going = False
        await asyncio.gather(*asking)
        await requests.ask_until({"n0", "n1"})
    assert all(result.source == "edge" for result in requests.results)
