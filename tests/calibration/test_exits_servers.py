"""What may be promised of exits behind decoders, with real graphs and pictures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.calibration.test_exits import settings

from cutpoint.calibration.data import load_samples, open_dataset
from cutpoint.calibration.exits.fit import ExitData, FittedExit
from cutpoint.calibration.exits.points import exit_files, spans_around
from cutpoint.calibration.exits.servers import ServerExits
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.search.trials import Trial
from cutpoint.calibration.work import WorkFolder
from cutpoint.sdk.bundle import Bundle, Exit, GraphFile, Measurement, Point, ServerExit, Threshold
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import Graph, create_runtime
from cutpoint.sdk.tail import Tail

PLAIN, PICTURE, LATER = "cut1-fp32-raw-exact", "cut0-webp-q10", "cut2-fp32-raw-exact"
DROP = 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    """Its exit lies at boundary 1."""
    return run_calibration(settings(folder, codecs=("raw", "webp")), SilentReporter()).bundle


class Cut:
    """Spans of the bundle, where calibration cuts them out of the model."""

    def __init__(self, bundle: Bundle) -> None:
        self.runtime = create_runtime("onnx")
        self._graphs = BundleGraphs(bundle, [self.runtime])

    def span(self, start: int, end: int, precision: str) -> Graph:
        return self._graphs.span(start, end, precision)


class Listening(SilentReporter):
    """Notes the stages."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: list[str] = []

    def stage(self, title: str, total: int):  # type: ignore[no-untyped-def]
        self.stages.append(title)
        return super().stage(title, total)


class Setup:
    """Everything that `ServerExits` works with, but for the points."""

    def __init__(self, bundle: Bundle, folder: Path, work: Path) -> None:
        self.bundle = bundle
        (exit,) = bundle.manifest.exits
        self.exit = msgspec.structs.replace(exit, servers=())
        self.graph = bundle.read(exit.graphs[0].file)
        sources = open_dataset(folder / "data", ()).sources[:60]
        self.held_out = [replace(source, label=None) for source in sources]
        self.work = WorkFolder(work)
        self.reporter = Listening()

    def add(self, *names: str, tail_ms: float = 1e3, drops: Sequence[float] = (DROP,)) -> tuple[ServerExit, ...]:
        points = [self.bundle.points[self.bundle.point_number(name)] for name in names]
        trials = [
            Trial(point, Measurement(0.9 - 0.1 * i, (100, 50, 200)[i], 100, 1.0, tail_ms=tail_ms), None, 0)
            for i, point in enumerate(points)
        ]
        data = ExitData([], [], self.held_out, self.bundle.manifest.preprocessing)
        servers = ServerExits(self.bundle, Cut(self.bundle), data, drops, self.work, self.reporter)  # type: ignore[arg-type]
        samples = load_samples(
            self.held_out, 2, self.bundle.manifest.boundaries[0].tensors, self.bundle.manifest.preprocessing
        )
        (exit,) = servers.add([self.exit], [FittedExit(self.exit, self.graph)], trials, samples.tensors)
        return exit.servers

    def told(self, point: Point) -> list[tuple[float, int, int]]:
        """What a server finds for each picture: confidence and class of the exit, class of the tail."""
        graphs = BundleGraphs(self.bundle, [create_runtime("onnx")])
        tail, found = Tail(graphs), []
        manifest = self.bundle.manifest
        for tensors in load_samples(self.held_out, 60, manifest.boundaries[0].tensors, manifest.preprocessing).tensors:
            crossing = graphs.span(0, point.start, "fp32").run(tensors) if point.start else tensors
            decoded = tail.decode(point, graphs.codec(point.codec or "").encode(crossing, point.level))
            scores, confidence = tail.exit(point, self.exit).run(decoded)
            found.append((confidence.item(), int(scores.argmax()), int(tail.graph(point).run(decoded)[0].argmax())))
        return found


@pytest.fixture
def setup(bundle: Bundle, folder: Path, tmp_path: Path) -> Setup:
    return Setup(bundle, folder, tmp_path / "work")


@pytest.mark.parametrize("name", [PLAIN, PICTURE])
def test_the_promise_is_about_what_the_server_will_do(setup: Setup, name: str) -> None:
    (use,) = setup.add(name)
    told = setup.told(setup.bundle.points[setup.bundle.point_number(name)])
    taken = [sure >= use.threshold.confidence for sure, _, _ in told]
    good = [mine == its for _, mine, its in told]
    assert (use.point, use.threshold.drop, use.threshold.certainty) == (name, DROP, 0.95)
    assert use.threshold.samples == len(told) == 60
    assert use.threshold.rate == pytest.approx(np.mean(taken))
    assert use.threshold.metric == pytest.approx(np.mean([g for g, t in zip(good, taken, strict=True) if t]))
    assert 0 < use.ms < 1e3


def test_with_labels_only_what_the_point_has_right_can_be_spoilt(setup: Setup) -> None:
    point = setup.bundle.points[setup.bundle.point_number(PLAIN)]
    told = setup.told(point)
    # Nothing is right, so that nothing is spoilt: the exit may answer everything, and badly.
    setup.held_out = [replace(s, label=(its + 1) % 5) for s, (_, _, its) in zip(setup.held_out, told, strict=True)]
    (use,) = setup.add(PLAIN)
    assert use.threshold.rate == 1.0
    assert use.threshold.metric == np.mean([mine == (its + 1) % 5 for _, mine, its in told])


def test_an_exit_that_is_always_wrong_spoils_no_more_than_was_promised(setup: Setup) -> None:
    model = onnx.load_from_string(setup.graph)
    graph, scores = model.graph, model.graph.output[0]
    graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 3, 4, 0]), "others"))
    graph.node.append(onnx.helper.make_node("Gather", [scores.name, "others"], ["exchanged"], axis=1))
    scores.name = "exchanged"
    setup.graph = model.SerializeToString()
    (use,) = setup.add(PLAIN)
    assert use.threshold.metric == 0
    assert use.threshold.rate < DROP


def test_too_few_inputs_promise_nothing(setup: Setup) -> None:
    assert setup.add(PLAIN, drops=(0.01,)) == ()
    assert [use.threshold.drop for use in setup.add(PLAIN, drops=(0.01, 0.5, 0.3))] == [0.3, 0.5]


def test_what_takes_longer_than_the_tail_is_not_even_tested(setup: Setup) -> None:
    assert setup.add(PLAIN, PICTURE, tail_ms=0.0) == ()
    assert setup.reporter.stages == []


def test_points_behind_the_exit_and_points_that_another_beats_have_none(setup: Setup, bundle: Bundle) -> None:
    assert setup.add(LATER) == ()
    # The second is smaller and less accurate, the third larger and less accurate.
    assert [use.point for use in setup.add(PLAIN, PICTURE, "cut1-fp32-raw-fp16")] == [PLAIN, PICTURE]


def test_what_was_tested_is_not_tested_again(setup: Setup) -> None:
    first = setup.add(PLAIN, PICTURE)
    assert setup.reporter.stages == ["testing exits for servers"]
    again = setup.add(PLAIN, PICTURE)
    assert setup.reporter.stages == ["testing exits for servers"]
    assert [use.threshold for use in again] == [use.threshold for use in first]
    assert setup.work.reused == 1


def test_servers_get_spans_and_graphs_that_they_need() -> None:
    threshold = Threshold(0.9, 0.01, 0.95, 300, 0.5, 0.99)
    none = Measurement(0.9, 0, 0, 1.0)
    asking = Point("asking", 3, 3, none, "int8", "c", tail_precision="fp32", exit="exit2-int8")
    plain = [Point(f"p{end}", end, end, none, "int8", "c", tail_precision="fp32") for end in range(3)]
    uses = tuple(ServerExit(point.id, threshold, 1.0) for point in plain)

    def made(boundary: int) -> FittedExit:
        name = f"exit{boundary}-int8"
        return FittedExit(Exit(name, boundary, "int8", (GraphFile("onnx", name),), (threshold,), 0.1), b"graph")

    fitted = [made(1), made(2)]
    first, second = (each.entry for each in fitted)
    served = msgspec.structs.replace(second, servers=uses)
    around = spans_around([asking, *plain], [served])
    assert around == {
        (0, 2, "int8"): "device",
        (2, 3, "int8"): "device",
        (0, 2, "fp32"): "server",
        (1, 2, "fp32"): "server",
    }
    parts = {path: part for path, (part, _) in exit_files(fitted, [asking, *plain], [first, served]).items()}
    assert parts == {"exit1-int8": "device", "exit2-int8": "both"}
    parts = {path: part for path, (part, _) in exit_files(fitted, plain, [served]).items()}
    assert parts == {"exit2-int8": "server"}
