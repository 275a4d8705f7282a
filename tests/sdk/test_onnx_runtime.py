"""onnxruntime's settings."""

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
