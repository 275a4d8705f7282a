import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.waiting import until

from cutpoint.sdk.errors import GraphError, InputError
from cutpoint.sdk.stream import Keep, Window, answer_stream


class Answers:
    """Answers frames when it is told to."""

    def __init__(self, at_once: bool = False) -> None:
        self.started: list[tuple[int, int]] = []
        self.waiting: dict[int, asyncio.Future[None]] = {}
        self._at_once = at_once

    async def __call__(self, number: int, frame: int) -> tuple[int, int]:
        self.started.append((number, frame))
        if not self._at_once:
            self.waiting[number] = asyncio.get_running_loop().create_future()
            await self.waiting[number]
        return number, frame


class Camera:
    """Gives a frame whenever it is told to."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[int | None] = asyncio.Queue()
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[int]:
        try:
            while (frame := await self.frames.get()) is not None:
                yield frame
        finally:
            self.closed = True

    def show(self, *frames: int | None) -> None:
        for frame in frames:
            self.frames.put_nowait(frame)


async def collect(stream: AsyncIterator[tuple[int, int]], into: list[tuple[int, int]]) -> None:
    async for answer in stream:
        into.append(answer)


def clock() -> float:
    return asyncio.get_running_loop().time()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_every_frame_is_answered_in_order() -> None:
    answers = Answers()
    got: list[tuple[int, int]] = []
    task = asyncio.create_task(collect(answer_stream(answers, range(10, 16), Window(3), "all", None, clock), got))
    await until(lambda: len(answers.started) == 3)
    answers.waiting[2].set_result(None)  # the third is done first, and waits for its turn
    answers.waiting[1].set_result(None)
    await settle()
    assert got == []
    assert len(answers.started) == 3
    answers.waiting[0].set_result(None)
    await until(lambda: len(answers.started) == 6)
    for number in (3, 4, 5):
        answers.waiting[number].set_result(None)
    await task
    assert got == [(i, i + 10) for i in range(6)]


async def test_latest_leaves_out_what_was_overtaken() -> None:
    camera, answers = Camera(), Answers()
    got: list[tuple[int, int]] = []
    task = asyncio.create_task(collect(answer_stream(answers, camera, Window(1), "latest", None, clock), got))
    camera.show(100)
    await until(lambda: answers.started == [(0, 100)])
    camera.show(101, 102, 103)
    await until(camera.frames.empty)
    await settle()
    answers.waiting[0].set_result(None)
    await until(lambda: answers.started[-1] == (3, 103))
    camera.show(104, None)
    await settle()
    answers.waiting[3].set_result(None)
    await until(lambda: answers.started[-1] == (4, 104))
    answers.waiting[4].set_result(None)
    await task
    assert got == [(0, 100), (3, 103), (4, 104)]


async def test_answers_are_given_out_before_the_next_frame_comes() -> None:
    camera, answers = Camera(), Answers(at_once=True)
    got: list[tuple[int, int]] = []
    task = asyncio.create_task(collect(answer_stream(answers, camera, Window(4), "all", None, clock), got))
    camera.show(7)
    await until(lambda: got == [(0, 7)])
    camera.show(None)
    await task


async def test_rate_bounds_the_frames_that_are_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = 0.0, []
    sleep = asyncio.sleep

    async def virtual(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds
        await sleep(0)

    monkeypatch.setattr("cutpoint.sdk.stream.asyncio.sleep", virtual)
    got: list[tuple[int, int]] = []
    await collect(answer_stream(Answers(at_once=True), iter(range(5)), Window(2), "all", 10.0, lambda: now), got)
    assert len(got) == 5
    assert now == pytest.approx(0.5, abs=0.11)
    assert max(slept) <= 0.1 + 1e-9


@pytest.mark.parametrize("keep", ["all", "latest"])
async def test_failing_sources_and_answers_say_so(keep: Keep) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise OSError("the camera is gone")

    async def fails(number: int, frame: int) -> int:
        raise GraphError("broken")

    with pytest.raises(OSError, match="camera"):
        await collect(answer_stream(Answers(at_once=True), broken(), Window(1), keep, None, clock), [])
    with pytest.raises(GraphError):
        async for _ in answer_stream(fails, [1, 2, 3], Window(2), keep, None, clock):
            pass


@pytest.mark.parametrize("keep", ["all", "latest"])
async def test_stream_left_early_cancels_everything(keep: Keep) -> None:
    camera, answers = Camera(), Answers()
    stream = answer_stream(answers, camera, Window(3), keep, None, clock)
    got: list[tuple[int, int]] = []
    task = asyncio.create_task(collect(stream, got))
    camera.show(1)
    await until(lambda: answers.started)
    before = len(asyncio.all_tasks())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await stream.aclose()  # type: ignore[attr-defined]
    await until(lambda: camera.closed)
    assert len(asyncio.all_tasks()) < before
    assert answers.waiting[0].cancelled()


@pytest.mark.parametrize("arguments", [{"keep": "some"}, {"rate": 0.0}, {"rate": -1.0}])
async def test_arguments_that_make_no_sense(arguments: dict[str, object]) -> None:
    with pytest.raises(InputError):
        await collect(
            answer_stream(Answers(), [1], Window(1), **{"keep": "all", "rate": None, "clock": clock, **arguments}),  # type: ignore[arg-type]
            [],
        )
    with pytest.raises(InputError, match="in_flight"):
        Window(0)


def test_window_is_what_keeps_the_slowest_stage_busy() -> None:
    window = Window(8)
    assert window.size == 8
    for _ in range(40):
        window.answered(device_ms=30, transfer_ms=10, server_ms=5, rtt_ms=45)
    assert window.size == 3
    for _ in range(40):
        window.answered(device_ms=200, transfer_ms=0, server_ms=0, rtt_ms=0)
    assert window.size == 1
    for _ in range(40):
        window.answered(device_ms=1, transfer_ms=1, server_ms=1, rtt_ms=500)
    assert window.size == 8
