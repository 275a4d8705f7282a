"""The Java client and a real server process, on the demo's bundle; the Python client's answers are the yardstick."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from tests.support.toy import picture as toy_picture
from tests.support.toy import toy_bundle

from cutpoint.codecs import Array
from cutpoint.demo.scenes import render
from cutpoint.sdk import Bundle, Client, Objective, StaticPolicy
from cutpoint.sdk.testing import ServerProcess

from .driver import Driver
from .recording import RecordingRuntime

PICTURES = 20
#: Cuts early and late, both precisions, every family of codecs that needs no picture encoder.
POINTS = (
    "cut3-int8-klt-q4",
    "cut4-fp32-affine-8bit",
    "cut5-int8-klt-q6",
    "cut5-fp32-klt-q3",
    "cut6-int8-affine-6bit",
    "cut6-int8-raw-fp16",
    "cut7-int8-klt-q5",
    "cut7-fp32-raw-exact",
    "cut8-int8-klt-q6",
    "cut0-raw-exact",
)


@dataclass(frozen=True)
class Recorded:
    """Pictures as files, what the runtime made of them, and the Python client's labels by point and picture."""

    bundle: Path
    folder: Path
    pictures: list[Path]
    labels: dict[tuple[str, int], int]


async def record(path: Path, folder: Path, images: Sequence[Array], points: Sequence[str], server: str) -> Recorded:
    bundle = await asyncio.to_thread(Bundle.open, path)
    runtime = [RecordingRuntime(folder)]
    local = [point for point in bundle.points if point.local]
    labels, pictures = {}, []
    for number, image in enumerate(images):
        pictures.append(folder / f"{number}.rgb")
        pictures[-1].write_bytes(image.tobytes())
    for point in [*local, *(bundle.points[bundle.point_number(name)] for name in points)]:
        mode = "device" if point.local else "edge"
        policy = StaticPolicy(point, point if point.local else local[0])
        objective = Objective(accuracy_floor=0)
        async with Client(server, bundle, mode=mode, policy=policy, objective=objective, runtime=runtime) as client:
            for number, image in enumerate(images):
                labels[point.id, number] = int((await client.infer(image)).outputs[0].argmax())
    return Recorded(path, folder, pictures, labels)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("recording")
    images = [render(seed, (224, 224)).image for seed in range(PICTURES)]

    async def run() -> Recorded:
        with as_file(files("cutpoint.demo") / "scenes.cutpoint") as path:
            async with ServerProcess(path) as server:
                return await record(path, folder, images, POINTS, server.url)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A bundle whose tail takes a good part of a second."""
    folder = tmp_path_factory.mktemp("slow")
    path = folder / "slow.cutpoint"
    toy_bundle("slow", tail_repeats=250).save(path)

    async def run() -> Recorded:
        async with ServerProcess(path) as server:
            return await record(path, folder, [toy_picture(1)], ["cut1-fp32-affine-fine"], server.url)

    return asyncio.run(run())


async def test_200_requests_get_the_python_clients_labels(recorded: Recorded) -> None:
    async with ServerProcess(recorded.bundle) as server, Driver() as driver:
        opened = await driver.open(server.url, recorded.bundle, recorded.folder, mode="edge", point=POINTS[0])
        assert opened == {"bundle": server.bundle_hash}
        same = 0
        for point in POINTS:
            for number in range(PICTURES):
                await driver.tell("begin", number, recorded.pictures[number], point)
            for number in range(PICTURES):
                answer = await driver.tell("await", number)
                assert (answer["source"], answer["point"]) == ("edge", point), answer
                same += answer["label"] == recorded.labels[point, number]
        assert same == len(POINTS) * PICTURES == 200


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as response:
        return bytes(response.read())


async def test_an_edge_with_a_next_tier_is_a_server_like_others(recorded: Recorded) -> None:
    async with ServerProcess(recorded.bundle) as cloud:
        options = "--upstream", cloud.url, "--threads", "1", "--max-batch", "1", "--slowdown", "20"
        async with ServerProcess(recorded.bundle, *options) as edge, Driver() as driver:
            await driver.open(edge.url, recorded.bundle, recorded.folder, mode="edge", point=POINTS[0])
            relayed, rounds = False, 0
            while not relayed:
                rounds += 1
                assert rounds < 20, "everything was finished at the edge, which is 20 times slower"
                for number in range(PICTURES):
                    await driver.tell("begin", number, recorded.pictures[number], POINTS[0])
                for number in range(PICTURES):
                    answer = await driver.tell("await", number)
                    assert answer["source"] == "edge", answer
                    assert answer["label"] == recorded.labels[POINTS[0], number]
                status = await asyncio.to_thread(fetch, edge.url.replace("ws", "http", 1) + "/v1/status")
                relayed = b'"relayed":' in status


async def test_the_bundle_comes_from_the_server_and_stays(recorded: Recorded, tmp_path: Path) -> None:
    store = f"store:{tmp_path / 'store'}"
    async with ServerProcess(recorded.bundle) as server:
        async with Driver() as driver:
            opened = await driver.open(server.url, store, recorded.folder, mode="device")
            assert opened == {"bundle": server.bundle_hash}
            assert [path.name for path in (tmp_path / "store").iterdir()] == [f"{server.bundle_hash}.cutpoint"]
        url = server.url
    async with Driver() as driver:  # the server is gone
        assert await driver.open(url, store, recorded.folder, mode="device") == {"bundle": server.bundle_hash}
        assert (await driver.infer(recorded.pictures[0]))["source"] == "device"


async def test_a_server_that_is_killed_and_comes_back(recorded: Recorded) -> None:
    point = "cut5-int8-klt-q6"
    async with ServerProcess(recorded.bundle) as server, Driver() as driver:
        await driver.open(server.url, recorded.bundle, recorded.folder, point=point)
        assert (await driver.infer(recorded.pictures[0]))["source"] == "edge"
        for _ in range(2):
            await server.kill()
            answers = [await driver.infer(recorded.pictures[number]) for number in range(10)]
            assert {answer["source"] for answer in answers} == {"device"}
            assert all("label" in answer for answer in answers)
            await server.start()
            assert await driver.tell("wait-connected") == {"connected": True}
            for number in range(10):
                answer = await driver.infer(recorded.pictures[number])
                assert (answer["source"], answer["label"]) == ("edge", recorded.labels[point, number])


async def test_cancelling_frees_the_servers_work(slow: Recorded) -> None:
    point = "cut1-fp32-affine-fine"
    async with ServerProcess(slow.bundle, "--threads", "1") as server, Driver() as driver:
        await driver.open(server.url, slow.bundle, slow.folder, mode="edge", point=point)
        metrics = f"{server.url.replace('ws', 'http', 1)}/metrics"

        def value(name: str) -> float:
            with urllib.request.urlopen(metrics) as response:
                found = re.search(rf"^{re.escape(name)} (\S+)$", response.read().decode(), re.MULTILINE)
            return float(found.group(1)) if found else 0.0

        for number in range(6):
            await driver.tell("begin", number, slow.pictures[0], point)
        for number in range(1, 6):
            await driver.tell("cancel", number)
        assert (await driver.tell("await", 0))["label"] == 1
        for number in range(1, 6):
            assert await driver.tell("await", number) == {"cancelled": True}
        answer = await driver.tell("begin", "last", slow.pictures[0], point)
        assert (await driver.tell("await", "last"))["label"] == 1, answer
        # Only the first and the last were computed.
        ran = await asyncio.to_thread(value, f'cutpoint_tail_seconds_count{{point="{point}"}}')
        assert ran == 2


async def test_late_answers_come_from_the_device_within_the_deadline(slow: Recorded) -> None:
    point = "cut1-fp32-affine-fine"
    async with ServerProcess(slow.bundle, "--threads", "1") as server, Driver() as driver:
        await driver.open(server.url, slow.bundle, slow.folder, deadline=0.15, point=point)
        await driver.infer(slow.pictures[0], point)  # the JVM loads its classes
        answers = [await driver.infer(slow.pictures[0], point) for _ in range(10)]
        assert {answer["source"] for answer in answers} == {"device"}
        assert all(answer["hedged"] or answer["fallback"] for answer in answers)
        times = sorted(answer["total_ms"] for answer in answers)
        assert times[-2] < 150, times  # of ten, the machine may have had something else to do once


async def test_a_stream_is_answered_in_its_order(recorded: Recorded) -> None:
    point = "cut7-int8-klt-q5"
    async with ServerProcess(recorded.bundle) as server, Driver() as driver:
        await driver.open(server.url, recorded.bundle, recorded.folder, point=point)
        answer = await driver.tell("stream", 60, *recorded.pictures)
        expected = [recorded.labels[point, number % PICTURES] for number in range(60)]
        assert answer["labels"] == ",".join(map(str, expected)), answer
        assert answer["bytes"] > 60 * 28


async def test_a_stream_refers_to_what_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "toy.cutpoint"
    toy_bundle().save(path)
    sent = {}
    async with ServerProcess(path) as server:
        points = ["cut1-fp32-affine-fine", "cut1-fp32-delta-fine"]
        toy = await record(path, tmp_path, [toy_picture(2)], points, server.url)
        for point in points:
            async with Driver() as driver:
                await driver.open(server.url, path, tmp_path, point=point)
                answer = await driver.tell("stream", 40, toy.pictures[0])
                assert answer["labels"] == ",".join(["2"] * 40), answer
                sent[point] = answer["bytes"]
    assert sent[points[1]] < 0.8 * sent[points[0]]


async def test_tokens(recorded: Recorded, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("right\n")
    async with ServerProcess(recorded.bundle, "--token-file", str(tokens)) as server:
        for token, source in (("right", "edge"), ("wrong", "device")):
            async with Driver() as driver:
                await driver.open(server.url, recorded.bundle, recorded.folder, point=POINTS[2], token=token)
                answer = await driver.infer(recorded.pictures[0], POINTS[2])
                assert answer["source"] == source, answer
        async with Driver() as driver:
            refused = await driver.open(
                server.url, recorded.bundle, recorded.folder, mode="edge", point=POINTS[2], token="wrong"
            )
            assert (refused["error"], refused["code"]) == ("RefusedException", "unauthenticated")
