import asyncio
import time

import pytest
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk.device import Device
from cutpoint.sdk.runtimes import Stop, create_runtime


async def opened(slowdown: float) -> Device:
    bundle = toy_bundle()
    device = Device("onnx", 1, slowdown)
    points = await device.open(bundle)
    await device.warm_up(points, points[0])
    return device


async def test_cancelled_work_frees_the_worker() -> None:
    bundle = toy_bundle()
    device = await opened(2.0)
    # As if the picture took minutes: the emulation waits, and is told to stop.
    device._slowdown = 1e6
    local = next(point for point in bundle.points if point.local)
    device.scale = 60_000 / local.measured.device_ms
    long = asyncio.create_task(device.compute(local, picture(0)))
    await until(lambda: device.queue_ms > 0)
    assert device.queue_ms == pytest.approx(60_000, rel=0.1)
    waiting = asyncio.create_task(device.compute(local, picture(1)))
    await until(lambda: device.queue_ms > 100_000)
    began = time.perf_counter()
    for task in (waiting, long):
        task.cancel()
    await asyncio.gather(long, waiting, return_exceptions=True)
    assert device.queue_ms == 0
    device._slowdown = 2.0
    output, *_ = await device.compute(local, picture(2))
    assert output.outputs is not None
    assert time.perf_counter() - began < 20
    await device.close()


async def test_emulated_slowness_is_learned() -> None:
    bundle = toy_bundle()
    device = await opened(200.0)
    first = device.scale
    assert first > 1
    local = next(point for point in bundle.points if point.local)
    output, *_ = await device.compute(local, picture(0))
    assert output.head_ms > 200 * 0.001
    await device.look()
    assert device.state.battery is None or 0 <= device.state.battery <= 1
    await device.close()


def test_onnxruntime_ends_a_run_when_told() -> None:
    from cutpoint.sdk.errors import GraphError

    bundle = toy_bundle("slow", tail_repeats=400)
    path = bundle.span(1, 2, "fp32").graphs[0].file
    graph = create_runtime("onnx").load(bundle.read(path), {})
    import threading

    import numpy as np

    features = [np.zeros((1, 8, 4, 4), np.float32)]
    began = time.perf_counter()
    graph.run(features)
    whole = time.perf_counter() - began
    stop = Stop()
    timer = threading.Timer(0.1 * whole, stop.set)
    timer.start()
    began = time.perf_counter()
    with pytest.raises(GraphError):
        graph.run(features, stop)
    assert time.perf_counter() - began < 0.7 * whole
    timer.join()
    # And what was stopped before it began ends at once, too.
    began = time.perf_counter()
    with pytest.raises(GraphError):
        graph.run(features, stop)
    assert time.perf_counter() - began < 0.5 * whole
    assert graph.run(features)
