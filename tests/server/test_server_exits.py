"""A real server whose worker and queue are taken: what is easy is answered from an exit all the same."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.support.exits import EXIT, exit_bundle
from tests.support.gate import Gate
from tests.support.toy import noise, picture
from tests.support.waiting import until

from cutpoint.sdk import Bundle, Client, InferenceResult, Objective, Overloaded
from cutpoint.server import EdgeServer, Settings

from .conftest import QUICK
from .test_app import get
from .test_tier import serving

PICTURE, FEATURES, STREAM = "cut0-raw-exact", "cut1-fp32-raw-exact", "cut1-fp32-delta-fine"
#: Places in the queue.
PLACES = 2
#: The exit may spoil one in a hundred.
ALLOWS, REFUSES = Objective(accuracy_drop=0.01), Objective(accuracy_drop=0.009)


@pytest.fixture(scope="module")
def exits() -> Bundle:
    return exit_bundle()


class Busy:
    """A server whose one worker waits at a gate, and whose queue is full."""

    def __init__(self, bundle: Bundle) -> None:
        self.server = EdgeServer(bundle, Settings(port=0, threads=1, max_queue=PLACES, grace=2.0))
        self.gate = Gate(bundle)
        self._bundle = bundle
        self._ahead: list[asyncio.Task[InferenceResult]] = []

    @property
    def waiting(self) -> int:
        return self.server._scheduler.waiting

    async def fill(self, client: Client) -> None:
        """The worker and every place in the queue are taken by requests that no exit could answer."""
        for number in range(1 + PLACES):
            self._ahead.append(asyncio.create_task(client.infer(noise(number), point=FEATURES)))
            await until(lambda: self.gate.entered == 1)
            await until(lambda number=number: self.waiting == number)

    async def open(self) -> None:
        """Everything is computed."""
        self.gate.open.set()
        for result in await asyncio.gather(*self._ahead):
            assert (result.source, result.exit) == ("edge", None)

    def refused(self, ago: float) -> None:
        """A request was refused so many seconds ago."""
        scheduler = self.server._scheduler
        scheduler._refused_at[self._bundle.hash] = scheduler._clock() - ago

    async def counted(self) -> bytes:
        return (await get(self.server.url, "/metrics"))[1]


@pytest.fixture
async def busy(exits: Bundle) -> AsyncIterator[Busy]:
    busy = Busy(exits)
    await busy.server.start()
    busy.server._scheduler._engine._tails[exits.hash] = busy.gate  # type: ignore[attr-defined]
    yield busy
    busy.gate.open.set()
    await busy.server.stop()


@pytest.mark.parametrize("point", [PICTURE, FEATURES])
async def test_what_is_easy_is_answered_from_the_exit(busy: Busy, exits: Bundle, point: str) -> None:
    async with Client(busy.server.url, exits, mode="edge", objective=ALLOWS, times=QUICK) as client:
        await busy.fill(client)
        asking = [asyncio.create_task(client.infer(picture(label, 4), point=point)) for label in range(PLACES)]
        await until(lambda: busy.waiting == 2 * PLACES)
        await busy.open()
        for label, result in enumerate(await asyncio.gather(*asking)):
            assert (result.source, result.exit, result.fallback) == ("edge", EXIT, None)
            assert result.plan.point.exit is None
            assert [output.shape for output in result.outputs] == [(1, 3)]
            assert int(result.outputs[0].argmax()) == label
            assert result.timing.queue > 0
        assert (client.counters.server_exits, client.counters.exits) == (PLACES, 0)
        assert client.counters.edge == 1 + 2 * PLACES
    assert b'cutpoint_exits_total{exit="exit1-fp32",outcome="answered"} 2.0' in await busy.counted()


async def test_what_is_not_is_refused_and_the_device_answers(busy: Busy, exits: Bundle) -> None:
    objective = Objective(accuracy_drop=0.01, patience=1e9)
    async with Client(busy.server.url, exits, objective=objective, times=QUICK) as client:
        await busy.fill(client)
        asking = asyncio.create_task(client.infer(noise(9), point=FEATURES))
        await until(lambda: busy.waiting == 1 + PLACES)
        await busy.open()
        result = await asking
        assert (result.source, result.exit) == ("device", None)
        assert isinstance(result.fallback, Overloaded)
        assert result.fallback.retry_after
        assert client.counters.server_exits == 0
    assert b'cutpoint_exits_total{exit="exit1-fp32",outcome="unsure"} 1.0' in await busy.counted()


async def test_while_others_are_refused_exits_come_first(busy: Busy, exits: Bundle) -> None:
    busy.gate.open.set()
    async with Client(busy.server.url, exits, mode="edge", objective=ALLOWS, times=QUICK) as client:
        found = []
        for ago in (0.5, 1.5):
            busy.refused(ago)
            found += [(await client.infer(data, point=FEATURES)).exit for data in (picture(1, 2), noise(3))]
    # There is room for what the exit is not sure of, and in the end for everything.
    assert found == [EXIT, None, None, None]
    counted = await busy.counted()
    assert b'outcome="answered"} 1.0' in counted
    assert b'outcome="unsure"} 1.0' in counted


async def test_what_no_exit_is_sure_of_does_not_wait_again_while_others_are_refused(busy: Busy, exits: Bundle) -> None:
    busy.gate.open.set()
    async with Client(busy.server.url, exits, mode="edge", objective=ALLOWS, times=QUICK) as client:
        busy.refused(-60.0)
        with pytest.raises(Overloaded, match="no exit is sure") as caught:
            await client.infer(noise(3), point=FEATURES)
    assert caught.value.retry_after


async def test_a_next_tier_is_asked_before_an_exit(exits: Bundle) -> None:
    async with serving(exits) as cloud, serving(exits, cloud.url) as edge:
        edge._scheduler._refused_at[exits.hash] = edge._scheduler._clock()
        async with Client(edge.url, exits, mode="edge", objective=ALLOWS, times=QUICK) as client:
            assert (await client.infer(picture(1, 2), point=FEATURES)).exit is None


async def test_there_are_as_many_places_again_and_no_more(busy: Busy, exits: Bundle) -> None:
    async with Client(busy.server.url, exits, mode="edge", objective=ALLOWS, times=QUICK) as client:
        await busy.fill(client)
        asking = [asyncio.create_task(client.infer(picture(0, seed), point=FEATURES)) for seed in range(PLACES)]
        await until(lambda: busy.waiting == 2 * PLACES)
        with pytest.raises(Overloaded, match="2 requests are waiting"):
            await client.infer(picture(0, 9), point=FEATURES)
        await busy.open()
        assert [result.exit for result in await asyncio.gather(*asking)] == [EXIT] * PLACES


@pytest.mark.parametrize(
    ("objective", "point", "knows"),
    [
        (REFUSES, FEATURES, ("sdk.link", "server.connection")),
        (ALLOWS, "cut1-fp32-affine-fine", ("sdk.link", "server.connection")),
        (ALLOWS, FEATURES, ("sdk.link",)),
        (ALLOWS, FEATURES, ("server.connection",)),
    ],
    ids=["floor", "no exit for the point", "older server", "older client"],
)
async def test_without_leave_it_is_refused_at_once(
    busy: Busy,
    exits: Bundle,
    objective: Objective,
    point: str,
    knows: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for end in {"sdk.link", "server.connection"} - set(knows):
        monkeypatch.setattr(f"cutpoint.{end}.EXTENSIONS", ("tiers",))
    async with Client(busy.server.url, exits, mode="edge", objective=objective, times=QUICK) as client:
        await busy.fill(client)
        with pytest.raises(Overloaded):
            await client.infer(picture(0, 1), point=point)
        assert busy.waiting == PLACES
        await busy.open()
    assert b"cutpoint_exits_total{" not in await busy.counted()


async def test_a_stream_goes_on_over_frames_that_were_answered_early(busy: Busy, exits: Bundle) -> None:
    busy.gate.open.set()
    async with Client(busy.server.url, exits, mode="edge", objective=ALLOWS, times=QUICK) as client:
        references: dict[tuple[str | None, int], tuple[np.ndarray, ...]] = {}  # type: ignore[type-arg]

        async def frame(seed: int) -> InferenceResult:
            return await client._updates.infer(picture(0, seed), STREAM, references, None, 0.0)

        first = await frame(1)
        busy.gate.open.clear()
        busy.gate.entered = 0
        await busy.fill(client)
        early = asyncio.create_task(frame(2))
        await until(lambda: busy.waiting == 1 + PLACES)
        await busy.open()
        assert (first.exit, (await early).exit) == (None, EXIT)
        last = await frame(2)
        # The server keeps what it has answered from an exit as well.
        assert last.bytes_sent < first.bytes_sent


async def test_the_servers_speed_is_taken_from_what_it_did(busy: Busy, exits: Bundle) -> None:
    async with Client(busy.server.url, exits, mode="edge", objective=ALLOWS, times=QUICK) as client:
        await busy.fill(client)
        said = client.conditions.server_scale
        asking = asyncio.create_task(client.infer(picture(0, 1), point=FEATURES))
        await until(lambda: busy.waiting == 1 + PLACES)
        await busy.open()
        result = await asking
        (_, use), *_ = exits.server_exits(result.plan.point)
        # The tail is too short here to say anything.
        assert result.plan.point.measured.tail_ms < use.ms
        ratio = (result.timing.tail + result.timing.decode) / use.ms
        assert client.conditions.server_scale == pytest.approx(said + 0.3 * (ratio - said))


async def test_exits_are_loaded_and_warm_before_anybody_asks(busy: Busy) -> None:
    (model,) = busy.server.models
    assert set(model.tails.exits) == {(0, 1, "fp32+exit1-fp32"), (1, 1, "fp32+exit1-fp32")}
    assert all(exit.seconds == pytest.approx(1.5e-4) for exit in model.tails.exits.values())
