"""A real client and a real server, in one process where that is enough."""

import asyncio
import io
import random
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.toy import picture
from tests.support.waiting import until

from cutpoint.sdk import (
    RADIOS,
    Backoff,
    Bundle,
    BundleError,
    Client,
    DeadlineExceeded,
    InputError,
    LinkError,
    LinkTimes,
    Objective,
    Plan,
    ServerDraining,
    StaticPolicy,
)
from cutpoint.sdk.testing import LinkEmulator, Trace
from cutpoint.server import EdgeServer, Settings

from .conftest import QUICK


def label(outputs: tuple[np.ndarray, ...]) -> int:
    return int(outputs[0].argmax())


async def uncut(bundle: Bundle, image: np.ndarray) -> np.ndarray:
    async with Client(bundle=bundle, mode="device") as client:
        return (await client.infer(image)).outputs[0]


async def test_every_point_answers_and_raw_ones_exactly(server: EdgeServer, bundle: Bundle) -> None:
    image = picture(2, 5)
    reference = await uncut(bundle, image)
    async with Client(server.url, bundle, objective=Objective(patience=1e6), times=QUICK) as client:
        for point in bundle.points:
            result = await client.infer(image, point=point.id)
            assert result.point is point
            assert result.source == ("device" if point.local else "edge")
            assert (result.bytes_sent > 0) == (not point.local)
            assert label(result.outputs) == 2
            if "exact" in point.id or point.local:
                np.testing.assert_allclose(result.outputs[0], reference, atol=1e-4)


@pytest.mark.parametrize("form", ["array", "pil", "jpeg", "grey", "larger"])
async def test_pictures_in_every_form(server: EdgeServer, bundle: Bundle, form: str) -> None:
    image = picture(0, 3)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    forms = {
        "array": image,
        "pil": Image.fromarray(image),
        "jpeg": buffer.getvalue(),
        "grey": image[:, :, 0],
        "larger": Image.fromarray(image).resize((64, 48)),
    }
    async with Client(server.url, bundle, times=QUICK) as client:
        result = await client.infer(forms[form])
        assert result.outputs[0].shape == (1, 3)
        if form != "grey":
            assert label(result.outputs) == 0


async def test_bad_inputs_are_named_and_harm_nothing(server: EdgeServer, bundle: Bundle) -> None:
    async with Client(server.url, bundle, times=QUICK) as client:
        with pytest.raises(InputError, match="not a picture in any format"):
            await client.infer(b"certainly no picture")
        with pytest.raises(InputError, match="float32"):
            await client.infer(np.zeros((16, 16, 3), np.float32))
        with pytest.raises(InputError, match="int is not a picture"):
            await client.infer(5)  # type: ignore[arg-type]
        with pytest.raises(BundleError, match="no point 'x'"):
            await client.infer(picture(0), point="x")
        assert label((await client.infer(picture(1))).outputs) == 1


async def test_many_requests_share_one_connection(server: EdgeServer, bundle: Bundle) -> None:
    async with Client(server.url, bundle, mode="edge", times=QUICK) as client:
        results = await asyncio.gather(*(client.infer(picture(i % 3, i)) for i in range(100)))
        assert [label(result.outputs) for result in results] == [i % 3 for i in range(100)]
        assert len(server._connections) == 1


async def test_stream_keeps_the_order_and_the_window(server: EdgeServer, bundle: Bundle) -> None:
    drawn = 0

    async def frames() -> object:
        nonlocal drawn
        for i in range(30):
            drawn += 1
            yield picture(i % 3, i)

    async with Client(server.url, bundle, mode="edge", times=QUICK) as client:
        answered = 0
        async for result in client.stream(frames(), in_flight=4):  # type: ignore[arg-type]
            assert label(result.outputs) == answered % 3
            answered += 1
            assert drawn - answered <= 4
        assert answered == 30
        with pytest.raises(InputError, match="in_flight"):
            await anext(client.stream([picture(0)], in_flight=0))


async def test_stream_left_early_cancels_what_is_under_way(server: EdgeServer, bundle: Bundle) -> None:
    async with Client(server.url, bundle, mode="edge", times=QUICK) as client:
        stream = client.stream([picture(i % 3, i) for i in range(20)], in_flight=4)
        assert label((await anext(stream)).outputs) == 0
        await stream.aclose()  # type: ignore[attr-defined]
        assert label((await client.infer(picture(2))).outputs) == 2
        assert client._link is not None
        assert client._link.in_flight == 0


async def test_cancelled_infer_frees_the_servers_work(slow_bundle: Bundle) -> None:
    server = EdgeServer(slow_bundle, Settings(port=0, threads=1))
    await server.start()
    try:
        async with Client(server.url, slow_bundle, mode="edge", times=QUICK) as client:
            point = "cut1-fp32-affine-fine"
            tasks = [asyncio.create_task(client.infer(picture(1), point=point)) for _ in range(6)]
            await until(lambda: server._scheduler.pending == 6)
            for task in tasks[1:]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert label(outcomes[0].outputs) == 1  # type: ignore[union-attr]
            assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[1:])
            # Only the first was computed: the metrics say how many tails ran.
            await until(lambda: not server._scheduler.pending)
            text = server._metrics.exposition().decode()
            assert f'cutpoint_requests_total{{outcome="ok",point="{point}"}} 1.0' in text
            assert f'cutpoint_requests_total{{outcome="cancelled",point="{point}"}} 5.0' in text
            tails = f'cutpoint_tail_seconds_count{{point="{point}"}} '
            assert float(text.split(tails)[1].split()[0]) == 1
    finally:
        await server.stop()


@pytest.mark.parametrize("tokens", [False, True], ids=["connections", "tokens"])
async def test_a_flood_delays_its_own_user(slow_bundle: Bundle, tmp_path: Path, tokens: bool) -> None:
    file = tmp_path / "tokens"
    file.write_text("flood\nlight\n")
    server = EdgeServer(slow_bundle, Settings(port=0, threads=1, token_file=file if tokens else None))
    await server.start()
    point = "cut1-fp32-affine-fine"
    order: list[str] = []

    async def ask(name: str, client: Client) -> None:
        assert label((await client.infer(picture(1), point=point)).outputs) == 1
        order.append(name)

    try:
        async with (
            Client(server.url, slow_bundle, mode="edge", token="flood", times=QUICK) as one,
            Client(server.url, slow_bundle, mode="edge", token="flood", times=QUICK) as two,
            Client(server.url, slow_bundle, mode="edge", token="light", times=QUICK) as light,
        ):
            flood = [asyncio.create_task(ask("flood", client)) for client in (one, two) for _ in range(2)]
            await until(lambda: server._scheduler.pending == 4)
            await ask("light", light)
            assert light.conditions.server.queue_ms > 0
            await asyncio.gather(*flood)
            # In the order of arrival it would have been the last of five.
            assert order.index("light") <= 2
            assert one.conditions.server.price > 0
    finally:
        await server.stop()


async def test_policy_can_be_swapped(server: EdgeServer, bundle: Bundle) -> None:
    point = bundle.points[bundle.point_number("cut0-jpeg-q90")]
    async with Client(server.url, bundle, policy=StaticPolicy(point, bundle.points[0]), times=QUICK) as client:
        assert (await client.infer(picture(1))).point is point

    class Mine:
        def choose(self, conditions: object) -> Plan:
            return Plan(bundle.points[0], 1.0, 1.0)

    async with Client(server.url, bundle, policy=Mine(), times=QUICK) as client:
        assert (await client.infer(picture(1))).source == "device"


async def test_default_policy_uses_the_edge_for_a_slow_device_and_itself_when_the_link_is_bad(
    server: EdgeServer, bundle: Bundle
) -> None:
    # So slow that it would lose every race, whatever else the machine does.
    async with Client(server.url, bundle, slowdown=5000, times=QUICK) as client:
        assert (await client.infer(picture(1))).source == "edge"
    async with (
        LinkEmulator(server.url, Trace.constant(20_000), delay=0.2) as link,
        Client(link.url, bundle, times=QUICK) as client,
    ):
        assert (await client.infer(picture(1))).source == "device"


async def test_late_answer_is_hedged_within_the_deadline(server: EdgeServer, bundle: Bundle) -> None:
    outage = Trace((1e8,) * 30 + (0.0,) * 30, step=0.1)
    async with LinkEmulator(server.url, outage) as link:
        point = bundle.points[bundle.point_number("cut1-fp32-affine-fine")]
        policy = StaticPolicy(point, bundle.points[0])
        objective = Objective(deadline=0.25)
        async with Client(link.url, bundle, policy=policy, objective=objective, times=QUICK) as client:
            assert (await client.infer(picture(1))).source == "edge"
            link._began -= 3.05 - link._now() % 6.0  # the outage begins now
            result = await client.infer(picture(1))
            assert result.source == "device"
            assert result.hedged
            assert result.bytes_sent > 0
            assert label(result.outputs) == 1


async def test_deadline_in_edge_mode_raises(slow_bundle: Bundle) -> None:
    server = EdgeServer(slow_bundle, Settings(port=0))
    await server.start()
    try:
        async with Client(
            server.url, slow_bundle, mode="edge", objective=Objective(deadline=0.03), times=QUICK
        ) as client:
            with pytest.raises(DeadlineExceeded):
                await client.infer(picture(1), point="cut1-fp32-affine-fine")
    finally:
        await server.stop()


async def test_draining_server_answers_what_it_has_and_refuses_the_rest(slow_bundle: Bundle) -> None:
    server = EdgeServer(slow_bundle, Settings(port=0, grace=20.0))
    await server.start()
    async with (
        Client(server.url, slow_bundle, mode="edge", times=QUICK) as client,
        Client(server.url, slow_bundle, times=QUICK) as relaxed,
    ):
        under_way = asyncio.create_task(client.infer(picture(1), point="cut1-fp32-affine-fine"))
        await until(lambda: server._scheduler.pending)
        stopping = asyncio.create_task(server.stop())
        await until(lambda: client.conditions.server.draining and relaxed.conditions.server.draining)
        with pytest.raises(ServerDraining):
            await client.infer(picture(2), point="cut0-raw-exact")
        assert (await relaxed.infer(picture(2))).source == "device"
        result = await under_way
        assert (result.source, label(result.outputs)) == ("edge", 1)
        await stopping
        # And afterwards: typed, not hanging.
        with pytest.raises(LinkError):
            await client.infer(picture(2))


async def test_client_without_a_bundle_downloads_the_device_part(
    server: EdgeServer, bundle: Bundle, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(2):  # from the server, then from the cache
        async with Client(server.url, times=QUICK) as client:
            assert client.bundle.hash == bundle.hash
            assert "server" not in client.bundle.parts
            assert label((await client.infer(picture(1), point="cut1-fp32-affine-fine")).outputs) == 1


async def test_device_mode_needs_no_server(bundle: Bundle) -> None:
    async with Client("ws://127.0.0.1:9", bundle, mode="device") as client:
        result = await client.infer(picture(0))
        assert (result.source, result.bytes_sent, label(result.outputs)) == ("device", 0, 0)
        with pytest.raises(InputError, match="does not go with mode 'device'"):
            await client.infer(picture(0), point="cut0-raw-exact")


@pytest.mark.parametrize(
    "arguments",
    [{}, {"mode": "edge"}, {"mode": "sideways"}, {"url": "http://x", "mode": "auto"}, {"slowdown": 0.5}],
)
async def test_arguments_that_make_no_sense(bundle: Bundle, arguments: dict[str, object]) -> None:
    given: dict[str, object] = {"bundle": bundle} if arguments else {}
    with pytest.raises(InputError):
        async with Client(**{**given, **arguments}):  # type: ignore[arg-type]
            pass


async def test_stream_sends_differences_and_survives_a_new_connection(bundle: Bundle) -> None:
    server = EdgeServer(bundle, Settings(port=0))
    await server.start()
    delta = bundle.points[bundle.point_number("cut1-fp32-delta-fine")]
    policy = StaticPolicy(delta, bundle.points[0])
    frames = [picture(1, 4) for _ in range(12)]
    async with Client(server.url, bundle, policy=policy, times=QUICK, objective=Objective(patience=1e6)) as client:
        key = (await client.infer(frames[0])).bytes_sent
        sizes = []
        async for result in client.stream(frames, in_flight=1):
            assert (result.source, label(result.outputs)) == ("edge", 1)
            sizes.append(result.bytes_sent)
            if len(sizes) == 6:  # the server's memory goes with the connection; the stream goes on
                assert client._link is not None
                link, old = client._link, client._link._connection
                for connection in list(server._connections):
                    await connection.leave(1.0)
                await until(lambda link=link, old=old: link.up and link._connection is not old)
        assert sizes[0] == key
        # One frame is lost to the broken connection's memory: refused, then sent again as a key frame.
        assert sizes[6] > key
        assert all(size < 0.75 * key for size in sizes[1:6] + sizes[7:])
    await server.stop()


async def test_stream_keeps_the_latest_frame_and_says_which(slow_bundle: Bundle) -> None:
    server = EdgeServer(slow_bundle, Settings(port=0))
    await server.start()
    shown = asyncio.Event()

    async def camera() -> object:
        for i in range(12):
            yield picture(i % 3, i)
            await asyncio.sleep(0)
        shown.set()

    async with Client(server.url, slow_bundle, mode="edge", times=QUICK) as client:
        numbers = []
        async for result in client.stream(camera(), in_flight=1, keep="latest"):  # type: ignore[arg-type]
            assert result.frame is not None
            assert label(result.outputs) == result.frame % 3
            numbers.append(result.frame)
        assert shown.is_set()
        assert numbers == sorted(numbers)
        assert numbers[-1] == 11
        assert len(numbers) < 12
    await server.stop()


async def test_a_connection_that_was_up_is_made_anew_without_delay(server: EdgeServer, bundle: Bundle) -> None:
    attempts: list[int] = []

    class Counted(Backoff):
        def delay(self, attempt: int, rng: random.Random) -> float:
            attempts.append(attempt)
            return 0.0

    async with Client(server.url, bundle, times=LinkTimes(backoff=Counted())) as client:
        link = client._link
        assert link is not None
        for _ in range(3):
            await until(lambda: link.up)
            old = link._connection
            for connection in list(server._connections):
                await connection.leave(0.0)
            await until(lambda old=old: link.up and link._connection is not old)
    # However often it was lost.
    assert attempts[:3] == [0, 0, 0]


async def test_hint_makes_a_new_connection_and_a_new_belief(server: EdgeServer, bundle: Bundle) -> None:
    async with Client(server.url, bundle, times=QUICK) as client:
        for _ in range(5):
            assert (await client.infer(picture(1), point="cut0-raw-exact")).source == "edge"
        assert client._link is not None
        link, old = client._link, client._link._connection
        believed = client.conditions.channel
        assert believed is not None
        client.network_changed("3g")
        assert client.conditions.radio is RADIOS["3g"]
        await until(lambda: link.up and link._connection is not old)
        channel = client.conditions.channel
        assert channel is not None
        assert channel.uplink < believed.uplink
        assert (await client.infer(picture(1), point="cut0-raw-exact")).source == "edge"
        with pytest.raises(InputError, match="carrier pigeon"):
            client.network_changed("carrier pigeon")


async def test_counters_tell_who_answered(server: EdgeServer, bundle: Bundle) -> None:
    async with Client(server.url, bundle, times=QUICK) as client:
        await client.infer(picture(0), point="cut0-raw-exact")
        await client.infer(picture(0), point="cut2-fp32")
        await client.infer(picture(0), point="cut2-fp32")
        counters = client.counters
        assert (counters.edge, counters.device, counters.answered) == (1, 2, 3)
        assert counters.hedges_won <= counters.hedged <= 1
        assert counters.fallbacks == 0


async def test_plan_explains_itself(server: EdgeServer, bundle: Bundle) -> None:
    async with Client(server.url, bundle, slowdown=300, times=QUICK) as client:
        await client.infer(picture(0))
        plan = (await client.infer(picture(0))).plan
        assert plan.runners_up
        assert all(other.point is not plan.point for other in plan.runners_up)
        assert all(other.cost >= 0.95 * plan.cost for other in plan.runners_up)
        assert any(other.point.local for other in (plan, *plan.runners_up))


async def test_dead_link_is_tried_as_soon_as_somebody_wants_it(bundle: Bundle) -> None:
    server = EdgeServer(bundle, Settings(port=0))
    await server.start()
    lazy = LinkTimes(backoff=Backoff(3600.0, 3600.0), eager=0.0)
    async with (
        LinkEmulator(server.url, Trace.constant(1e9)) as link,
        Client(link.url, bundle, times=lazy) as client,
    ):
        assert client.connected
        link.cut()
        await until(lambda: not client.connected)
        await until(lambda: client._link is not None and client._link._tried_at < client._clock())
        assert (await client.infer(picture(1))).source == "device"
        await until(lambda: client.connected)
    await server.stop()


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the kernel does not tell here")
async def test_kernel_may_be_asked_for_the_round_trip(server: EdgeServer, bundle: Bundle) -> None:
    async with Client(server.url, bundle, mode="edge", times=LinkTimes(kernel=True)) as client:
        for i in range(8):
            await client.infer(picture(i % 3, i), point="cut0-raw-exact")
        channel = client.conditions.channel
        assert channel is not None
        assert channel.rtt < 0.02  # loopback, without the event loops' own time
