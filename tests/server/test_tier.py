"""Two and three servers in one process, one the next tier of the other: real sockets, real graphs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from tests.support.toy import picture
from tests.support.waiting import until

from cutpoint.sdk import Bundle, Client, InferenceResult, InputError, Objective, Plan, StaticPolicy
from cutpoint.sdk.errors import DeadlineExceeded, TooManyHops, UnknownPoint
from cutpoint.sdk.link import Link
from cutpoint.sdk.protocol import Hop
from cutpoint.server import EdgeServer, Settings
from cutpoint.server.tier import Tier

from .conftest import QUICK

RAW, FINE = "cut0-raw-exact", "cut1-fp32-affine-fine"
#: The device leaves its answer to the servers.
PATIENT = Objective(patience=1e6)


@asynccontextmanager
async def serving(bundle: Bundle, upstream: str | None = None, **settings: object) -> AsyncIterator[EdgeServer]:
    """A server that is ready, and connected to its next tier."""
    server = EdgeServer(bundle, Settings(port=0, threads=1, upstream=upstream, grace=5.0, **settings))  # type: ignore[arg-type]
    server.tiers._times = QUICK
    for model in server.models:
        model.tier = server.tiers.tier(model)
    await server.start()
    try:
        if upstream is not None:
            await until(lambda: tier(server).upstream.up)  # type: ignore[union-attr]
        yield server
    finally:
        await server.stop()


def tier(server: EdgeServer) -> Tier:
    (model,) = server.models
    return model.tier


def force(server: EdgeServer, kind: str, onward: str | None = None, hedge_ms: float = inf) -> None:
    """From now on every request goes that way as long as the next tier can be asked."""
    forwarding = tier(server).forwarding
    usual = forwarding.choose

    def choose(point, conditions, alone):  # type: ignore[no-untyped-def]
        _, plan = usual(point, conditions, alone)
        _, ways = forwarding._choices[point.id, alone]
        fitting = (w for w in ways.values() if w.kind == kind and onward in (None, w.onward and w.onward.id))
        chosen = next(fitting, ways["finished"])
        if conditions.channel is None or chosen.onward is None:
            return ways["finished"], plan
        return chosen, Plan(chosen.onward, 1.0, 1.0, hedge_ms=hedge_ms)

    forwarding.choose = choose  # type: ignore[method-assign]


def counted(server: EdgeServer) -> dict[str, int]:
    return dict(server._metrics.ways)


async def uncut(bundle: Bundle, image: np.ndarray) -> np.ndarray:
    async with Client(bundle=bundle, mode="device") as client:
        return (await client.infer(image)).outputs[0]


def check_times(result: InferenceResult) -> None:
    """The hops fit into one another and into what the device saw."""
    timing = result.timing
    assert result.hops[0].total_ms == pytest.approx(timing.queue + timing.decode + timing.tail, abs=0.1)
    assert timing.network >= 0
    for hop, behind in zip(result.hops, result.hops[1:], strict=False):
        assert hop.away_ms >= behind.total_ms


@pytest.mark.parametrize(
    ("kind", "asked", "onward"),
    [
        ("finished", RAW, None),
        ("relayed", RAW, None),
        ("relayed", FINE, None),
        ("forwarded", RAW, "cut1-fp32-raw-exact"),
        ("forwarded", RAW, "cut1-fp32-affine-fine"),
    ],
)
async def test_every_way_gives_the_answer_and_says_who_did_what(
    bundle: Bundle, kind: str, asked: str, onward: str | None
) -> None:
    image = picture(2, 5)
    async with (
        serving(bundle, tier="cloud") as cloud,
        serving(bundle, cloud.url, tier="edge", upstream_drop=0.1) as edge,
        Client(edge.url, bundle, mode="edge", times=QUICK) as client,
    ):
        force(edge, kind, onward)
        result = await client.infer(image, point=asked)
        assert int(result.outputs[0].argmax()) == 2
        if "exact" in asked and "exact" in (onward or "exact"):
            np.testing.assert_allclose(result.outputs[0], await uncut(bundle, image), atol=1e-4)
        names = ["edge"] if kind == "finished" else ["edge", "cloud"]
        assert [hop.tier for hop in result.hops] == names
        check_times(result)
        first = result.hops[0]
        assert (first.compute_ms > 0) == (kind != "relayed")
        assert (first.encode_ms > 0) == (kind == "forwarded")
        assert result.hops[-1].compute_ms > 0
        assert counted(edge) == {kind: 1}
        text = edge._metrics.exposition().decode()
        assert f'cutpoint_tier_requests_total{{way="{kind}"}} 1.0' in text


async def test_three_servers_in_a_row(bundle: Bundle) -> None:
    async with (
        serving(bundle, tier="cloud") as cloud,
        serving(bundle, cloud.url, tier="region") as region,
        serving(bundle, region.url, tier="edge") as edge,
        Client(edge.url, bundle, mode="edge", times=QUICK) as client,
    ):
        force(edge, "relayed")
        force(region, "forwarded", "cut1-fp32-raw-exact")
        result = await client.infer(picture(1), point=RAW)
        assert [hop.tier for hop in result.hops] == ["edge", "region", "cloud"]
        check_times(result)
        assert int(result.outputs[0].argmax()) == 1


async def test_a_slow_server_leaves_work_to_a_fast_one(bundle: Bundle, slow_bundle: Bundle) -> None:
    # What counts is what is believed of the two, and that is learned from nothing but requests.
    async with serving(slow_bundle) as cloud, serving(slow_bundle, cloud.url) as edge:
        own = tier(edge)
        point = slow_bundle.points[slow_bundle.point_number(FINE)]
        assert own.upstream is not None
        assert own.speed.scale > 100  # the toy says 0.1 ms of a tail that takes a good part of a second
        assert own.upstream.scale == pytest.approx(tier(cloud).speed.scale)
        async with Client(edge.url, slow_bundle, mode="edge", times=QUICK, objective=PATIENT) as client:
            found = own.speed.found
            for times, kind in ((3.0, "relayed"), (1 / 30, "finished")):
                own.speed.found = found * times
                await client.infer(picture(1), point=point.id)
                assert counted(edge).get(kind) == 1


async def test_two_that_are_each_others_upstream_come_to_an_end(bundle: Bundle) -> None:
    async with serving(bundle, tier="a") as one:
        settings = replace(one.settings, upstream="ws://127.0.0.1:9", max_hops=2)
        async with serving(bundle, one.url, tier="b", max_hops=2) as two:
            # The first learns of the second only now that it has an address.
            one.tiers._settings = replace(settings, upstream=two.url)
            (model,) = one.models
            model.tier = one.tiers.tier(model)
            model.tier.start()
            await until(lambda: model.tier.upstream.up)  # type: ignore[union-attr]
            force(one, "relayed")
            force(two, "relayed")
            async with Client(one.url, bundle, mode="edge", times=QUICK) as client:
                result = await client.infer(picture(1), point=RAW)
            assert [hop.tier for hop in result.hops] == ["a", "b", "a"]
            assert int(result.outputs[0].argmax()) == 1
            await model.tier.close()


def link(server: EdgeServer, bundle: Bundle) -> Link:
    """A client's link, for requests that no client makes."""
    import random
    import time

    from cutpoint.sdk.channel import ChannelEstimator
    from cutpoint.sdk.monitor import LinkMonitor

    monitor = LinkMonitor(ChannelEstimator())
    return Link(server.url, bundle.hash, monitor, 1 << 20, times=QUICK, clock=time.monotonic, rng=random.Random(0))


async def test_a_request_that_has_passed_too_many_tiers_is_refused(bundle: Bundle) -> None:
    async with serving(bundle, max_hops=3) as server:
        asking = link(server, bundle)
        await asking.start()
        number, payload = bundle.point_number(RAW), picture(1).tobytes()
        assert (await asking.request(number, payload, 0.0, 0.0, [], hops=3)).outputs[0].argmax() == 1
        with pytest.raises(TooManyHops, match="passed 4 tiers"):
            await asking.request(number, payload, 0.0, 0.0, [], hops=4)
        await asking.close()


@pytest.mark.parametrize("spans", [True, False])
async def test_a_request_may_name_where_to_stop(bundle: Bundle, spans: bool) -> None:
    async with serving(bundle, spans=spans) as server:
        asking = link(server, bundle)
        await asking.start()
        number, image = bundle.point_number(RAW), picture(1)
        if spans:
            result = await asking.request(number, image.tobytes(), 0.0, 0.0, [], stop=1)
            (features,) = result.outputs
            assert features.shape == (1, 8, 4, 4)
            later = bundle.point_number("cut1-fp32-raw-exact")
            outputs = (await asking.request(later, features.tobytes(), 0.0, 0.0, [])).outputs
            np.testing.assert_allclose(outputs[0], await uncut(bundle, image), atol=1e-4)
        for wrong in (1, 2, 200) if not spans else (2, 200):
            with pytest.raises(UnknownPoint, match=f"span 0-{wrong} is not"):
                await asking.request(number, image.tobytes(), 0.0, 0.0, [], stop=wrong)
        await asking.close()


# -- when something is wrong ---------------------------------------------------------------------------------------


@asynccontextmanager
async def two_tiers(
    bundle: Bundle, kind: str = "relayed", hedge_ms: float = inf, mode: str = "edge", objective: Objective = PATIENT
) -> AsyncIterator[tuple[EdgeServer, EdgeServer, Client]]:
    async with (
        serving(bundle, tier="cloud") as cloud,
        serving(bundle, cloud.url, tier="edge") as edge,
        Client(edge.url, bundle, mode=mode, times=QUICK, objective=objective) as client,  # type: ignore[arg-type]
    ):
        force(edge, kind, hedge_ms=hedge_ms)
        yield edge, cloud, client


async def waiting_at(server: EdgeServer, count: int = 1) -> None:
    await until(lambda: server._scheduler.pending == count)


async def test_a_cancellation_reaches_the_last_tier(slow_bundle: Bundle) -> None:
    async with two_tiers(slow_bundle) as (edge, cloud, client):
        tasks = [asyncio.create_task(client.infer(picture(1), point=FINE)) for _ in range(4)]
        await waiting_at(cloud, 4)
        for task in tasks[1:]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes[0], InferenceResult)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[1:])
        await waiting_at(cloud, 0)
        for server in (edge, cloud):
            text = server._metrics.exposition().decode()
            assert f'cutpoint_requests_total{{outcome="cancelled",point="{FINE}"}} 3.0' in text
        assert cloud._metrics.exposition().decode().count(f'cutpoint_tail_seconds_count{{point="{FINE}"}} 1.0') == 1


async def test_a_budget_shrinks_on_its_way(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: dict[str, float] = {}
    usual = Tier.answer

    async def answer(self: Tier, asked):  # type: ignore[no-untyped-def]
        budgets[self._name] = asked.budget
        return await usual(self, asked)

    monkeypatch.setattr(Tier, "answer", answer)
    async with two_tiers(bundle, objective=Objective(deadline=20.0)) as (_, _, client):
        await client.infer(picture(1), point=RAW)
    assert 0 < budgets["cloud"] < budgets["edge"] < 20.0


async def test_a_budget_that_runs_out_is_said_so(slow_bundle: Bundle) -> None:
    async with two_tiers(slow_bundle, objective=Objective(deadline=0.05)) as (edge, cloud, client):
        with pytest.raises(DeadlineExceeded):
            await client.infer(picture(1), point=FINE)
        await waiting_at(cloud, 0)
        await waiting_at(edge, 0)


async def test_what_the_next_tier_loses_is_computed_here(slow_bundle: Bundle) -> None:
    async with two_tiers(slow_bundle) as (edge, cloud, client):
        task = asyncio.create_task(client.infer(picture(1), point=FINE))
        await waiting_at(cloud)
        for connection in list(cloud._connections):
            await connection.leave(0.0)
        result = await task
        assert [hop.tier for hop in result.hops] == ["edge"]
        assert result.fallback is None
        assert counted(edge) == {"failed": 1, "finished": 1}
        assert 'cutpoint_upstream_failures_total{code="link"} 1.0' in edge._metrics.exposition().decode()


@pytest.mark.parametrize("kind", ["relayed", "forwarded"])
async def test_what_is_late_is_computed_here_as_well(slow_bundle: Bundle, kind: str) -> None:
    async with two_tiers(slow_bundle, kind, hedge_ms=0.0) as (edge, cloud, client):
        busy = [asyncio.create_task(client.infer(picture(1), point=RAW)) for _ in range(2)]
        results = await asyncio.gather(*busy)
        assert all(int(result.outputs[0].argmax()) == 1 for result in results)
        await until(lambda: not edge._scheduler.pending and not cloud._scheduler.pending)
        assert sum(counted(edge).values()) == 2


async def test_a_full_server_leaves_requests_to_the_next_tier(slow_bundle: Bundle) -> None:
    async with serving(slow_bundle) as cloud, serving(slow_bundle, cloud.url, max_queue=1) as edge:
        force(edge, "finished")
        async with Client(edge.url, slow_bundle, mode="edge", times=QUICK, objective=PATIENT) as client:
            results = await asyncio.gather(*(client.infer(picture(1), point=FINE) for _ in range(4)))
        assert all(int(result.outputs[0].argmax()) == 1 for result in results)
        assert counted(edge)["relayed"] >= 1


async def test_devices_are_told_of_the_shorter_queue(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(bundle) as cloud, serving(bundle, cloud.url) as edge:
        (model,) = edge.models
        monkeypatch.setattr(model, "queue_ms", lambda user: 5000.0)
        async with Client(edge.url, bundle, mode="edge", times=QUICK) as client:
            await client.infer(picture(1), point=RAW)
            assert 0 < client.conditions.server.queue_ms < 1000
            await cloud.stop()
            await until(lambda: not tier(edge).upstream.up)  # type: ignore[union-attr]
            await client.infer(picture(1), point=RAW)
            assert client.conditions.server.queue_ms == 5000


async def test_streams_stay_where_they_began(bundle: Bundle) -> None:
    delta = "cut1-fp32-delta-fine"
    points = bundle.points[bundle.point_number(delta)], bundle.points[0]
    frames = [picture(1, 4)] * 6
    async with serving(bundle) as cloud, serving(bundle, cloud.url) as edge:
        force(edge, "relayed")
        async with Client(edge.url, bundle, mode="edge", times=QUICK) as client:
            for _ in range(3):  # single requests are key frames
                assert len((await client.infer(frames[0], point=delta)).hops) == 2
        assert counted(edge) == {"relayed": 3}
        policy = StaticPolicy(*points)
        async with Client(edge.url, bundle, policy=policy, times=QUICK, objective=PATIENT) as client:
            results = [result async for result in client.stream(frames, in_flight=1)]
        assert [int(result.outputs[0].argmax()) for result in results] == [1] * 6
        # The first was relayed, so the second is sent twice; from then on they are decoded here.
        assert [len(result.hops) for result in results] == [2, 1, 1, 1, 1, 1]
        assert results[1].bytes_sent > results[0].bytes_sent > results[2].bytes_sent
        text = edge._metrics.exposition().decode()
        assert f'cutpoint_requests_total{{outcome="reference_lost",point="{delta}"}} 1.0' in text


async def test_a_client_that_knows_nothing_of_tiers_is_served(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(bundle) as cloud, serving(bundle, cloud.url) as edge:
        force(edge, "relayed")
        # The next tier goes on knowing of them; the device does not.
        monkeypatch.setattr("cutpoint.sdk.link.EXTENSIONS", ("unheard-of",))
        async with Client(edge.url, bundle, mode="edge", times=QUICK) as client:
            result = await client.infer(picture(1), point=RAW)
        assert result.hops == ()
        assert int(result.outputs[0].argmax()) == 1
        assert counted(edge) == {"relayed": 1}


async def test_a_next_tier_that_knows_nothing_of_tiers_is_one_hop(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutpoint.server.connection.EXTENSIONS", ())
    async with serving(bundle) as cloud:
        connections = cloud._connections
        async with serving(bundle, cloud.url, tier="edge") as edge:
            assert len(connections) == 1
            monkeypatch.undo()
            force(edge, "relayed")
            async with Client(edge.url, bundle, mode="edge", times=QUICK) as client:
                result = await client.infer(picture(1), point=RAW)
        assert [hop.tier for hop in result.hops] == ["edge", ""]
        assert result.hops[1].compute_ms > 0


async def test_the_next_tier_may_want_a_token(bundle: Bundle, tmp_path: Path) -> None:
    tokens, token = tmp_path / "tokens", tmp_path / "token"
    tokens.write_text("edges\n")
    token.write_text("edges\n")
    async with (
        serving(bundle, token_file=tokens) as cloud,
        serving(bundle, cloud.url, upstream_token_file=token) as edge,
    ):
        assert tier(edge).upstream.up  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("setting", "content", "message"),
    [
        ("upstream_token_file", "", "one line with the token"),
        ("upstream_token_file", "a\nb\n", "one line with the token"),
        ("upstream_token_file", None, "cannot be read"),
        ("upstream_ca", "no certificate", "holds no certificates"),
        ("upstream_ca", None, "holds no certificates"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    bundle: Bundle, tmp_path: Path, setting: str, content: str | None, message: str
) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=message):
        EdgeServer(bundle, Settings(port=0, upstream="wss://127.0.0.1:9", **{setting: file}))  # type: ignore[arg-type]


def test_hops_add_up() -> None:
    assert Hop("edge", 1.0, 2.0, 3.0, 4.0, 30.0).away_ms == 20.0
    assert Hop("edge", 1.0, 2.0, 3.0, 4.0, 9.0).away_ms == 0.0
