"""A machine that is slower than this one."""

import time

import numpy as np
import pytest
from tests.support.toy import picture, toy_bundle

from cutpoint.sdk import InputError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.testing import SlowRuntime


def test_the_rest_of_the_time_is_waited_for() -> None:
    bundle = toy_bundle("slow", tail_repeats=6)
    waits: list[float] = []
    plain = BundleGraphs(bundle, [create_runtime("onnx")]).span(1, 2, "fp32")
    slow = BundleGraphs(bundle, [SlowRuntime(create_runtime("onnx"), 20.0, waits.append)]).span(1, 2, "fp32")
    features = np.ones((1, 8, 4, 4), np.float32)
    began, processor = time.perf_counter(), time.thread_time()
    outputs = slow.run([features])
    wall, processor = time.perf_counter() - began, time.thread_time() - processor
    np.testing.assert_array_equal(outputs[0], plain.run([features])[0])
    assert (slow.input_names, slow.output_names) == (plain.input_names, plain.output_names)
    (waited,) = waits
    assert 0 < waited <= 20 * processor
    assert waited + wall >= 19 * processor


def test_it_is_as_fast_at_any_time() -> None:
    waits: list[float] = []
    bundle = toy_bundle("slow", tail_repeats=6)
    slow = BundleGraphs(bundle, [SlowRuntime(create_runtime("onnx"), 1e6, waits.append)]).span(1, 2, "fp32")
    features = np.ones((1, 8, 4, 4), np.float32)
    for _ in range(20):
        slow.run([features])
    assert max(waits[5:]) - min(waits[5:]) < 1.0, "they differ by what is subtracted, which is far shorter"


def test_it_reads_what_the_runtime_reads_and_is_no_faster() -> None:
    runtime = create_runtime("onnx")
    slow = SlowRuntime(runtime, 1.0)
    assert (slow.name, slow.format) == (runtime.name, runtime.format)
    head = BundleGraphs(toy_bundle(), [slow]).span(0, 1, "fp32")
    assert head.run([picture(1)[None]])[0].shape == (1, 8, 4, 4)
    for wrong in (0.5, float("nan")):
        with pytest.raises(InputError, match="below 1"):
            SlowRuntime(runtime, wrong)
