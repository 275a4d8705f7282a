"""Real server processes that are each other's peers."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.nodes import node_processes, numbers
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import Bundle, Client, InferenceResult
from cutpoint.sdk.testing import LinkEmulator, ServerProcess, Trace

from .conftest import QUICK

POINT = "cut1-fp32-raw-exact"


@pytest.fixture(scope="module")
def work() -> Bundle:
    """A toy whose tail takes some milliseconds."""
    return toy_bundle("work", tail_repeats=3)


@pytest.fixture(scope="module")
def work_file(work: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nodes") / "work.cutpoint"
    work.save(path)
    return path


async def there(url: str, count: int, timeout: float = 20.0) -> None:
    """Returns when the group at `url` has so many nodes."""
    names: list[Any] = []

    async def look() -> None:
        while len(names) != count:
            names[:] = (await numbers(url))["nodes"]

    await asyncio.wait_for(look(), timeout)


class Load:
    """Sends requests one after the other over several tasks, and keeps the answers."""

    def __init__(self, client: Client, tasks: int, point: str = POINT) -> None:
        self.results: list[InferenceResult] = []
        self._client = client
        self._point = point
        self._going = True
        self._tasks = [asyncio.create_task(self._ask(number)) for number in range(tasks)]

    async def _ask(self, number: int) -> None:
        while self._going:
            result = await self._client.infer(picture(number % 3, number), point=self._point)
            assert result.outputs[0].argmax() == number % 3
            self.results.append(result)

    async def more(self, count: int) -> None:
        """Returns when so many further answers are there."""
        goal = len(self.results) + count
        await until(lambda: len(self.results) >= goal or any(task.done() for task in self._tasks), 60)

    async def stop(self) -> list[InferenceResult]:
        """Waits for what is under way. Raises what any request raised."""
        self._going = False
        await asyncio.gather(*self._tasks)
        return self.results


def tiers(results: list[InferenceResult]) -> set[str]:
    """Names of the nodes that computed something."""
    return {hop.tier for result in results for hop in result.hops if hop.compute_ms}


async def test_nodes_share_the_work_and_answers_stay_the_same(work: Bundle, work_file: Path) -> None:
    async with node_processes(work_file, 3) as servers:
        await asyncio.gather(*(there(server.url, 3) for server in servers))
        async with Client(servers[0].url, work, mode="edge", times=QUICK) as client:
            load = Load(client, 12)
            await load.more(150)
            results = await load.stop()
        async with Client(bundle=work, mode="device") as alone:
            expected = await alone.infer(picture(1, 1))
        same = next(result for result in results if result.outputs[0].argmax() == 1)
        assert tiers(results) == {"n0", "n1", "n2"}
        assert all(result.source == "edge" for result in results)
        assert same.outputs[0].shape == expected.outputs[0].shape
        # Any of them may be asked.
        async with Client(servers[2].url, work, mode="edge", times=QUICK) as client:
            result = await client.infer(picture(1, 1), point=POINT)
            np.testing.assert_allclose(result.outputs[0], expected.outputs[0], atol=1e-4)
        node = (await numbers(servers[0].url))["nodes"][0]
        assert node["name"] == "here"


async def test_one_request_goes_through_several_nodes(work: Bundle, work_file: Path) -> None:
    async with node_processes(work_file, 2, "--peer-rule", "amp4ec") as servers:
        await there(servers[0].url, 2)
        async with Client(servers[0].url, work, mode="edge", times=QUICK) as client:
            result = await client.infer(picture(2, 1), point="cut0-raw-exact")
        async with Client(bundle=work, mode="device") as alone:
            expected = await alone.infer(picture(2, 1))
        np.testing.assert_allclose(result.outputs[0], expected.outputs[0], atol=1e-4)
        assert {hop.tier for hop in result.hops} == {"n0", "n1"}
        first = result.hops[0]
        assert first.tier == "n0"
        assert first.total_ms >= result.hops[1].total_ms


async def test_what_a_node_had_is_computed_by_others(work: Bundle, work_file: Path) -> None:
    loop = asyncio.get_running_loop()
    async with node_processes(work_file, 3) as servers:
        entry, second, third = servers
        await there(entry.url, 3)
        async with Client(entry.url, work, mode="edge", times=QUICK) as client:
            load = Load(client, 12)

            async def lose(server: ServerProcess, how: signal.Signals, left: int) -> None:
                await load.more(60)
                server.send_signal(how)
                began = loop.time()
                await there(entry.url, left)
                # A second, and what a busy machine adds to it.
                assert loop.time() - began < 3.0
                await load.more(60)

            await lose(second, signal.SIGSTOP, 2)
            second.send_signal(signal.SIGCONT)
            await there(entry.url, 3)
            await lose(second, signal.SIGTERM, 2)
            await lose(third, signal.SIGKILL, 1)
            results = await load.stop()
        assert tiers(results) == {"n0", "n1", "n2"}
        assert all(result.source == "edge" for result in results)


async def test_a_node_that_comes_back_works_again(work: Bundle, work_file: Path) -> None:
    async with node_processes(work_file, 2) as servers:
        await there(servers[0].url, 2)
        await servers[1].kill()
        await there(servers[0].url, 1)
        await servers[1].start()
        await there(servers[0].url, 2)
        async with Client(servers[0].url, work, mode="edge", times=QUICK) as client:
            load = Load(client, 8)
            await load.more(100)
            assert tiers(await load.stop()) == {"n0", "n1"}


async def test_a_node_behind_a_dead_link_is_given_up(work: Bundle, work_file: Path) -> None:
    async with (
        ServerProcess(work_file, "--threads", "1", "--tier", "far") as far,
        LinkEmulator(far.url, Trace.constant(1e8)) as link,
        ServerProcess(work_file, "--threads", "1", "--tier", "near", "--peer", link.url) as near,
    ):
        await there(near.url, 2)
        async with Client(near.url, work, mode="edge", times=QUICK) as client:
            load = Load(client, 8)
            await load.more(60)
            assert "far" in tiers(load.results)
            link.hold(2.5)
            began = asyncio.get_running_loop().time()
            await there(near.url, 1)
            assert asyncio.get_running_loop().time() - began < 3.0
            await load.more(60)
            await there(near.url, 2)
            results = await load.stop()
        assert all(result.source == "edge" for result in results)


async def test_peers_need_a_token_where_clients_do(work_file: Path, tmp_path: Path) -> None:
    good, bad, tokens = tmp_path / "good", tmp_path / "bad", tmp_path / "tokens"
    good.write_text("a-token-for-the-nodes\n")
    bad.write_text("not-a-token-of-anybody\n")
    tokens.write_text(good.read_text())
    async with ServerProcess(work_file, "--token-file", str(tokens)) as guarded:
        for file, count in ((bad, 1), (good, 2)):
            async with ServerProcess(work_file, "--peer", guarded.url, "--peer-token-file", str(file)) as server:
                await there(server.url, count)


async def test_a_node_that_is_its_own_peer_is_alone(work: Bundle, work_file: Path) -> None:
    async with node_processes(work_file, 1, peers=[()]) as [server]:
        url = server.url
        await server.stop()
        async with ServerProcess(work_file, "--port", url.rsplit(":", 1)[1], "--peer", url) as again:
            await there(again.url, 1)
            async with Client(again.url, work, mode="edge", times=QUICK) as client:
                assert (await client.infer(picture(0, 1), point=POINT)).source == "edge"


async def test_whatever_happens_to_the_others_every_request_is_answered(work: Bundle, work_file: Path) -> None:
    rng = random.Random(3)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        peers = [ServerProcess(work_file, "--threads", "1", "--tier", f"n{number}") for number in (1, 2)]
        await asyncio.gather(*(stack.enter_async_context(peer) for peer in peers))
        links = [await stack.enter_async_context(LinkEmulator(peer.url, Trace.constant(1e9))) for peer in peers]
        named = [word for link in links for word in ("--peer", link.url)]
        entry = await stack.enter_async_context(ServerProcess(work_file, "--threads", "1", "--tier", "n0", *named))
        client = await stack.enter_async_context(Client(entry.url, work, mode="edge", times=QUICK))
        await there(entry.url, 3)
        load = Load(client, 8)
        end = loop.time() + 10.0
        while loop.time() < end:
            peer, link = rng.choice(list(zip(peers, links, strict=True)))
            match rng.choice(["kill", "freeze", "slow", "hold", "cut"]):
                case "kill":
                    await peer.kill()
                    await load.more(20)
                    await peer.start()
                case "freeze":
                    peer.send_signal(signal.SIGSTOP)
                    await load.more(40)
                    peer.send_signal(signal.SIGCONT)
                case "slow":
                    for _ in range(10):
                        peer.send_signal(signal.SIGSTOP)
                        await load.more(3)
                        peer.send_signal(signal.SIGCONT)
                        await load.more(1)
                case "hold":
                    link.hold(rng.uniform(0.1, 1.5))
                case _:
                    link.cut(rng.uniform(0.0, 1.0))
            await load.more(30)
        results = await load.stop()
    assert all(result.source == "edge" for result in results)
