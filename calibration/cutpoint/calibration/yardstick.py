"""What other graphs of a model are held against: samples, their judge, and what the uncut model reaches on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cutpoint.calibration.data import Samples, Source, load_samples
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph, check_finite
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.search.measure import uncut_answers
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.tasks import Judge, Situation, judge_all, make_judge
from cutpoint.calibration.tasks.annotations import annotate
from cutpoint.sdk.bundle import Preprocessing
from cutpoint.sdk.runtimes import Graph, create_runtime

__all__ = ["Yardstick", "measure_uncut", "spare_yardstick"]

#: Fewer spare samples than this are not worth having: a metric of them is chance.
_FEWEST = 20


@dataclass(frozen=True)
class Yardstick:
    """Samples and the uncut model's worth on them.

    Attributes:
        samples: tensors of boundary 0 and where they came from.
        judge: of the task, on these samples.
        uncut: metric of the uncut fp32 model.
    """

    samples: Samples
    judge: Judge
    uncut: float

    def metric(self, model: Graph) -> float:
        """The task's metric of a graph of the whole model."""
        return judge_all(self.judge, uncut_answers(model, self.samples.tensors, lambda: None))


def measure_uncut(
    settings: Settings,
    graph: ModelGraph,
    samples: Samples,
    preprocessing: Preprocessing | None,
    reporter: Reporter,
) -> Yardstick:
    """Runs the uncut model on samples.

    Args:
        settings: of the calibration.
        graph: the fp32 model.
        samples: loaded.
        preprocessing: None where they are no pictures.
        reporter: hears what is done.

    Raises:
        CalibrationError: if outputs or labels are not those of the task, or the model gives no numbers.
    """
    model = create_runtime("onnx", settings.threads).load(graph.model.SerializeToString(), {})
    with reporter.stage("running the uncut model", len(samples.tensors)) as advance:
        answers = uncut_answers(model, samples.tensors, advance)
    for source, answer in zip(samples.sources, answers, strict=True):
        check_finite(graph.outputs, answer, source.name)
    judge = make_judge(settings.task, Situation(graph.outputs, tuple(samples.sources), answers, preprocessing))
    return Yardstick(samples, judge, judge_all(judge, answers))


def spare_yardstick(
    settings: Settings,
    graph: ModelGraph,
    folder: Path,
    sources: Sequence[Source],
    calibration: Samples,
    preprocessing: Preprocessing | None,
    reporter: Reporter,
) -> Yardstick:
    """A yardstick for what calibration decides on the way, so that points are not measured on what decided them.

    Its samples are those of the calibration half that no range or table came from; where there are hardly any, the
    calibration samples. Where they lack the labels of the task, agreement with the uncut model stands in for it.

    Args:
        settings: of the calibration.
        graph: the fp32 model.
        folder: of the data.
        sources: the calibration half.
        calibration: what was loaded of it.
        preprocessing: None where the data are no pictures.
        reporter: hears what is done.
    """
    used = {source.name for source in (*calibration.sources, *(source for source, _ in calibration.skipped))}
    rest = [source for source in sources if source.name not in used]
    samples = calibration
    if len(rest) >= _FEWEST:
        with reporter.stage("loading spare data", min(settings.calibration_samples, len(rest))) as advance:
            loaded = load_samples(rest, settings.calibration_samples, graph.inputs, preprocessing, advance)
        samples = loaded if len(loaded.tensors) >= _FEWEST else samples
    samples = Samples(samples.tensors, list(annotate(folder, samples.sources)))
    try:
        return measure_uncut(settings, graph, samples, preprocessing, reporter)
    except CalibrationError:
        return measure_uncut(replace(settings, task="auto"), graph, samples, preprocessing, reporter)
