"""The device's one worker thread: it prepares pictures and computes heads, and learns how fast it is."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.device_output import DeviceOutput
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.laps import TypicalTimes
from cutpoint.sdk.pictures import Picture
from cutpoint.sdk.runtimes import Runtime, Stop, create_runtime
from cutpoint.sdk.state import DeviceState, read_device_state

__all__ = ["SCALE_WEIGHT", "Device", "Input"]

T = TypeVar("T")

#: What a request may be about: a picture, or the tensors of boundary 0.
Input = Picture | tuple[Array, ...]
#: Weight of a new sample in the scales of device and server.
SCALE_WEIGHT = 0.3
#: Milliseconds below which a time says more about the call than about the work.
_MEASURABLE_MS = 0.1


@dataclass(slots=True, eq=False)
class _Job:
    """Work in the worker's queue: how long it probably takes, and since when it is its turn; seconds."""

    expected: float
    since: float
    stop: Stop = field(default_factory=Stop)


class Device:
    """Computes the device's share of requests, one at a time, outside the event loop.

    Args:
        runtime: name for `create_runtime`, or runtimes, best first. onnxruntime stands behind any named one.
        threads: of the runtime, within one call.
        slowdown: emulates a device this many times slower by waiting; 1 for no emulation.

        clock: monotonic seconds.

    Attributes:
        scale: how many times slower than in calibration this device computes.
        state: what the system said of the device when it was last asked.
    """

    def __init__(
        self,
        runtime: str | Sequence[Runtime],
        threads: int,
        slowdown: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._threads = threads
        self._slowdown = slowdown
        self._times = TypicalTimes()
        self._executor = ThreadPoolExecutor(1, "cutpoint-device")
        self._clock = clock
        self._jobs: deque[_Job] = deque()
        self.scale = 1.0
        self.state = DeviceState()

    @property
    def queue_ms(self) -> float:
        """Milliseconds of work that come before whatever is begun now, as far as one can tell."""
        if not self._jobs:
            return 0.0
        under_way = min(self._jobs[0].expected, self._clock() - self._jobs[0].since)
        return max(0.0, sum(job.expected for job in self._jobs) - under_way) * 1e3

    async def look(self) -> None:
        """Asks the system how the device is doing."""
        self.state = await asyncio.to_thread(read_device_state)

    async def open(self, bundle: Bundle) -> tuple[Point, ...]:
        """Gets ready for `bundle`, and returns the points that can run here.

        Raises:
            RuntimeUnavailable: if the runtime is not installed.
        """
        runtimes = await self._run(self._create_runtimes)
        graphs = BundleGraphs(bundle, runtimes)
        self._head = Head(graphs, self._stretch if self._slowdown > 1 else None)
        return tuple(point for point in bundle.points if graphs.supports(point))

    async def warm_up(self, points: Sequence[Point], local: Point) -> None:
        """Loads what `points` need, and takes the device's speed from running `local`, so that no plan is a guess."""

        def work() -> None:
            self._head.warm_up((*points, local))
            times = sorted(self._head.run(local, self._head.zeros()).head_ms for _ in range(3))
            self.scale = times[1] / max(local.measured.device_ms, 1e-3)

        await self._run(work)

    async def compute(
        self, point: Point, data: Input, reference: tuple[Array, ...] | None = None
    ) -> tuple[DeviceOutput, tuple[Array, ...], float]:
        """The device's share of `point`. Cancelling it ends the work, as soon as the runtime can.

        Args:
            point: any point that can run here.
            data: a picture, or the tensors of boundary 0.
            reference: symbols of an earlier frame of the stream that the server has.

        Returns:
            What came of it, the tensors of boundary 0, and the milliseconds it took to make them.

        Raises:
            InputError: if `data` is not what the bundle takes.
            GraphError, CodecError, BundleError: if the bundle's files do not work here.
        """

        m = point.measured
        mean_ms, whole = m.expected.device_ms + m.expected.encode_ms, m.device_ms + m.encode_ms

        def work() -> tuple[DeviceOutput, tuple[Array, ...], float]:
            started = time.perf_counter()
            tensors = self._head.prepare(data)
            prepare_ms = (time.perf_counter() - started) * 1e3
            output = self._head.run(point, tensors, reference, job.stop)
            expected = whole if output.exit is None else m.exit_ms
            if expected > _MEASURABLE_MS:
                self.scale += SCALE_WEIGHT * ((output.head_ms + output.encode_ms) / expected - self.scale)
            return output, tensors, prepare_ms

        job = _Job(mean_ms * self.scale / 1e3, self._clock())
        self._jobs.append(job)
        try:
            return await self._run(work)
        except asyncio.CancelledError:
            job.stop.set()
            raise
        finally:
            self._end(job)

    async def prepare(self, data: Input) -> tuple[tuple[Array, ...], float]:
        """The tensors of boundary 0, and the milliseconds that took. Raises `InputError` as `compute`."""

        def work() -> tuple[tuple[Array, ...], float]:
            started = time.perf_counter()
            tensors = self._head.prepare(data)
            return tensors, (time.perf_counter() - started) * 1e3

        return await self._run(work)

    async def parts(self, point: Point, tensors: tuple[Array, ...]) -> AsyncGenerator[DeviceOutput]:
        """The parts of a sliced point's payload, each when it is there. Closing this ends the work as soon as can be.

        Raises:
            GraphError, CodecError, BundleError: if the bundle's files do not work here.
        """
        loop = asyncio.get_running_loop()
        ready: asyncio.Queue[DeviceOutput | None] = asyncio.Queue()
        expected = point.measured.device_ms + point.measured.encode_ms

        def work() -> None:
            took_ms = 0.0
            for output in self._head.run_parts(point, tensors, job.stop):
                took_ms += output.head_ms + output.encode_ms
                loop.call_soon_threadsafe(ready.put_nowait, output)
            if expected > _MEASURABLE_MS:
                self.scale += SCALE_WEIGHT * (took_ms / expected - self.scale)

        job = _Job(expected * self.scale / 1e3, self._clock())
        self._jobs.append(job)
        working = asyncio.ensure_future(self._run(work))
        working.add_done_callback(lambda _: ready.put_nowait(None))
        try:
            while (output := await ready.get()) is not None:
                yield output
            await working
        finally:
            job.stop.set()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            self._end(job)

    async def close(self) -> None:
        """Waits for the work that has begun; what has not is dropped."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)

    def _end(self, job: _Job) -> None:
        first = self._jobs[0] is job
        self._jobs.remove(job)
        if first and self._jobs:
            self._jobs[0].since = self._clock()

    def _create_runtimes(self) -> Sequence[Runtime]:
        if not isinstance(self._runtime, str):
            return self._runtime
        runtimes = [create_runtime(self._runtime, self._threads)]
        return runtimes if self._runtime == "onnx" else [*runtimes, create_runtime("onnx", self._threads)]

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _stretch(self, what: Hashable, processor_seconds: float, wall_seconds: float, stop: Stop) -> None:
        # From processor time: what other processes take from this machine is not the emulated device's affair.
        stop.wait(max(0.0, self._times.of(what, processor_seconds) * self._slowdown - wall_seconds))
