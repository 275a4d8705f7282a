from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.networks import SIDE, inspect, residual_net

from cutpoint.calibration.data import Samples, Source
from cutpoint.calibration.graphs.graph import run_model
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.tasks import Situation, make_judge
from cutpoint.calibration.variants import Variants, make_variants
from cutpoint.calibration.work import WorkFolder
from cutpoint.calibration.yardstick import Yardstick

GRAPH = inspect(residual_net())


def _samples(seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    tensors = [(rng.normal(size=(1, 3, SIDE, SIDE)).astype(np.float32),) for _ in range(6)]
    return Samples(tensors, [Source(Path(f"{number}.npy"), f"{number}.npy") for number in range(6)])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings("net.onnx", tmp_path, tmp_path / "out")


def _make(settings: Settings, reporter: SilentReporter | None = None) -> tuple[Variants, WorkFolder]:
    spare = _samples(1)
    uncut = [run_model(GRAPH.model, {"x": sample}) for (sample,) in spare.tensors]
    judge = make_judge("embedding", Situation(GRAPH.outputs, tuple(spare.sources), uncut))
    yardstick = Yardstick(spare, judge, 1.0) if "int8" in settings.precisions else None
    work = WorkFolder(settings.work_folder)
    return make_variants(settings, GRAPH, _samples(0), yardstick, work, "key", reporter or SilentReporter()), work


def _operators(variants: Variants, precision: str) -> set[str]:
    return {node.op_type for node in variants.models[precision].graph.node}


def test_only_what_was_asked_for(settings: Settings) -> None:
    variants, _ = _make(replace(settings, precisions=("fp32",)))
    assert variants.models == {"fp32": GRAPH.model}
    assert (variants.int8, variants.notes) == (None, ())


def test_every_precision(settings: Settings) -> None:
    variants, _ = _make(replace(settings, precisions=("fp32", "fp16", "int8"), int8_drop=0.5))
    assert set(variants.models) == {"fp32", "fp16", "int8"}
    assert "Cast" in _operators(variants, "fp16")
    assert "QuantizeLinear" in _operators(variants, "int8")
    assert variants.int8 is not None
    assert variants.int8.floats == ()
    assert 0.5 < variants.int8.metric <= 1
    assert variants.notes == ()


def test_what_int8_costs_too_much_is_noted(settings: Settings) -> None:
    reporter = SilentReporter()
    variants, _ = _make(replace(settings, int8_drop=0.0), reporter)
    assert variants.int8 is not None
    assert variants.int8.all_metric < 1
    assert list(variants.notes) == reporter.notes
    assert "int8 costs" in reporter.notes[0]


def test_an_interrupted_calibration_finds_its_int8_model_again(settings: Settings) -> None:
    first, _ = _make(settings)
    again, work = _make(settings)
    assert work.reused == 1
    assert again.models["int8"] == first.models["int8"]
    assert again.int8 == first.int8
    _, work = _make(replace(settings, int8_drop=0.3))
    assert work.reused == 0
