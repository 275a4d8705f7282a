from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.networks import SIDE, inspect, residual_net

from cutpoint.calibration.data import Samples, Source, load_samples, open_dataset, shuffled
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.yardstick import Yardstick, measure_uncut, spare_yardstick
from cutpoint.sdk.runtimes import create_runtime

GRAPH = inspect(residual_net())


def _folder(folder: Path, count: int, classes: int = 0) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class{number % classes}" if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{number:03}.npy", rng.normal(size=(1, 3, SIDE, SIDE)).astype(np.float32))
    return folder


def _spare(settings: Settings, sources: list[Source], used: int) -> tuple[Yardstick, Samples]:
    calibration = load_samples(sources, used, GRAPH.inputs, None)
    return spare_yardstick(settings, GRAPH, settings.data, sources, calibration, None, SilentReporter()), calibration


def _settings(data: Path, **changes: int | str) -> Settings:
    return replace(Settings("net.onnx", data, data.parent / "out"), **changes)  # type: ignore[arg-type]


def test_samples_that_neither_ranges_nor_points_come_from(tmp_path: Path) -> None:
    settings = _settings(_folder(tmp_path / "data", 50, classes=5), calibration_samples=20)
    sources = shuffled(open_dataset(settings.data).sources)[:45]
    spare, calibration = _spare(settings, sources, 20)
    names = {source.name for source in spare.samples.sources}
    assert names < {source.name for source in sources}
    assert not names & {source.name for source in calibration.sources}
    assert len(names) == 20
    assert spare.judge.metric == "top1"


def test_where_there_are_hardly_any_the_calibration_samples(tmp_path: Path) -> None:
    settings = _settings(_folder(tmp_path / "data", 30), calibration_samples=20)
    spare, calibration = _spare(settings, list(open_dataset(settings.data).sources), 20)
    assert [s.name for s in spare.samples.sources] == [s.name for s in calibration.sources]
    assert (spare.judge.metric, spare.uncut) == ("agreement", 1.0)


def test_without_the_labels_of_the_task_agreement_stands_in(tmp_path: Path) -> None:
    settings = _settings(_folder(tmp_path / "data", 30), calibration_samples=10, task="classification")
    spare, _ = _spare(settings, list(open_dataset(settings.data).sources), 8)
    assert spare.judge.metric == "agreement"


@pytest.mark.parametrize("graph", [GRAPH, inspect(residual_net(batch=False))])
def test_a_graph_is_held_against_the_uncut_model(tmp_path: Path, graph: ModelGraph) -> None:
    settings = _settings(_folder(tmp_path / "data", 6), task="embedding")
    samples = load_samples(list(open_dataset(settings.data).sources), 6, GRAPH.inputs, None)
    yardstick = measure_uncut(settings, GRAPH, samples, None, SilentReporter())
    session = create_runtime("onnx").load(graph.model.SerializeToString(), {})
    assert yardstick.metric(session) == pytest.approx(yardstick.uncut) == pytest.approx(1)
