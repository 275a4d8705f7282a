"""onnxruntime's settings."""

import os
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from tests.support.toy import picture, toy_bundle

from cutpoint.sdk import InputError, RuntimeUnavailable
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes.onnx import PROVIDERS, OnnxRuntime


def test_providers_that_are_not_there_are_named() -> None:
    with pytest.raises(InputError, match="'gpu' is not one of cpu, cuda, tensorrt"):
        OnnxRuntime(providers=("gpu",))
    missing = [name for name, long in PROVIDERS.items() if long not in onnxruntime.get_available_providers()]
    for name in missing:
        with pytest.raises(RuntimeUnavailable, match=f"no provider '{name}', only .*cpu"):
            OnnxRuntime(providers=(name,))
    assert "cpu" not in missing


def test_threads_and_arena_change_no_answer() -> None:
    bundle = toy_bundle()
    answers = [
        BundleGraphs(bundle, [runtime]).span(0, 2, "fp32").run([picture(1)[None]])[0]
        for runtime in (OnnxRuntime(), OnnxRuntime(threads=2, arena=False), OnnxRuntime(providers=("cpu", "cpu")))
    ]
    for answer in answers:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-5)


def test_graphs_say_whether_they_take_batches() -> None:
    for free in (True, False):
        bundle, runtime = toy_bundle(free_batch=free), OnnxRuntime()
        assert BundleGraphs(bundle, [runtime]).span(1, 2, "fp32").batches is free
        # Its second input, the level, is a scalar.
        assert runtime.load(bundle.read("codecs/1-affine.dec.onnx"), {}).batches is free
        assert BundleGraphs(bundle, [runtime]).codec("1-affine").parts.batches is free
        assert not BundleGraphs(bundle, [runtime]).codec("1-raw").parts.batches


@pytest.mark.parametrize(("chosen", "expected"), [(None, "1"), ("0", "0")])
def test_onnxruntime_reports_nothing_to_its_makers_unless_asked_to(chosen: str | None, expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {} if chosen is None else {"ORT_DISABLE_TELEMETRY": chosen}
    # Loading a graph is what brings onnxruntime in, and that must be too late for nobody.
    program = (
        "import os, sys\n"
        "import cutpoint.server, cutpoint.sdk\n"
        "assert 'onnxruntime' not in sys.modules or 'ORT_DISABLE_TELEMETRY' in os.environ\n"
        "cutpoint.sdk.create_runtime('onnx')\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
