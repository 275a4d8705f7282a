"""The exits of a bundle: where they are, what they are trained on, and what may be promised of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import msgspec
import numpy as np
import onnx

from cutpoint.calibration.data import Source, load_samples
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.exits.graphs import pooled_early, pooled_head, shortened, with_confidence
from cutpoint.calibration.exits.precision import quantise_exit, scores_of
from cutpoint.calibration.exits.thresholds import choose_threshold, least_drop, samples_needed
from cutpoint.calibration.exits.views import random_view
from cutpoint.calibration.graphs.cuts import labelled
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.tasks import Judge, is_classification
from cutpoint.calibration.training.codecs import training_sources
from cutpoint.calibration.training.features import collect_features
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Boundary, Exit, GraphFile, Preprocessing, Threshold
from cutpoint.sdk.runtimes import Graph, Stop, create_runtime

__all__ = ["CERTAINTY", "ExitData", "ExitFitting", "FittedExit", "check_exits", "choose_exits", "fingerprint"]

#: Of the promises of all exits of a bundle together.
CERTAINTY = 0.95
#: Exits are placed up to this share of the computation: behind it there is little left to be saved.
_LAST = 0.85
#: Bytes of features that are held in memory at most, floats as float16.
_BYTES = 2**30
#: Share of the files to train on that the temperature is found with instead, and their least and greatest number.
_TUNING, _FEW, _MANY = 0.1, 10, 400
#: Samples that the ranges of an exit's int8 come from; which share of its right answers int8 may not cost: thresholds
#: are tested with it, so that it spoils nothing, but the exit is sure of less.
_RANGES, _COSTLY = 100, 0.05

Tensors = tuple[Array, ...]


class FittedExit(msgspec.Struct, frozen=True):
    """An exit of the bundle.

    Attributes:
        entry: for the manifest; `ms` is not measured yet.
        graph: content of its file.
    """

    entry: Exit
    graph: bytes

    @property
    def path(self) -> str:
        """Of the file in the bundle."""
        return self.entry.graphs[0].file


def fingerprint(sources: Sequence[Source]) -> str:
    """What changes when one of the files does."""
    return "\n".join(f"{s.path} {(stat := s.path.stat()).st_size} {stat.st_mtime_ns}" for s in sources)


@dataclass(frozen=True)
class ExitData:
    """Files, none of them twice.

    Attributes:
        training: for the weights.
        tuning: for the temperature.
        held_out: for the thresholds; nothing else was fitted to them.
        preprocessing: of boundary 0.
    """

    training: Sequence[Source]
    tuning: Sequence[Source]
    held_out: Sequence[Source]
    preprocessing: Preprocessing | None

    @classmethod
    def divide(
        cls,
        settings: Settings,
        calibration: Sequence[Source],
        fitted: Sequence[Source],
        measured: Sequence[Source],
        preprocessing: Preprocessing | None,
    ) -> ExitData:
        """Divides what there is: training has a folder of its own, or else half of what nothing is fitted to.

        Args:
            settings: with the folder for training.
            calibration: files that calibration may see, in a mixed order.
            fitted: of them, those that int8 and codecs are fitted to.
            measured: files that points are measured on.
            preprocessing: of boundary 0.

        Raises:
            CalibrationError: if the folder for training holds nothing of use.
        """
        training = training_sources(settings, calibration, measured) if settings.train_data is not None else None
        seen = {source.path.resolve() for source in (*fitted, *measured)}
        held_out = [source for source in calibration if source.path.resolve() not in seen]
        if training is None:
            half = len(held_out) // 2
            training, held_out = [*fitted, *held_out[half:]], held_out[:half]
        kept = {source.path.resolve() for source in held_out}
        training = [source for source in training if source.path.resolve() not in kept]
        tuning = min(_MANY, max(_FEW, round(_TUNING * len(training))))
        return cls(training[tuning:], training[:tuning], held_out, preprocessing)


def check_exits(settings: Settings, judge: Judge, outputs: Sequence[TensorSpec]) -> None:
    """Raises `CalibrationError` if exits were asked for and the task has none."""
    if settings.exits and (judge.kind != "classification" or not is_classification(outputs)):
        raise CalibrationError(
            f"--exits: exits answer classifications only, and this task is {judge.kind}: one confidence has to stand "
            "for the whole answer; leave --exits out"
        )


def choose_exits(boundaries: Sequence[Boundary], wanted: int | tuple[str, ...]) -> list[Boundary]:
    """Where exits go: the boundaries that were asked for, or as many as asked for, evenly over the computation.

    Raises:
        CalibrationError: for a label that no boundary has.
    """
    inner = list(boundaries[1:-1])
    if not isinstance(wanted, int):
        return labelled(inner, wanted, "for an exit")
    total = boundaries[-1].macs or 1
    chosen: dict[int, Boundary] = {}
    for number in range(wanted if inner else 0):
        place = _LAST * total * (number + 1) / wanted
        nearest = min(inner, key=lambda boundary: abs(boundary.macs - place))
        chosen[nearest.index] = nearest
    return sorted(chosen.values(), key=lambda boundary: boundary.index)


class _Way:
    """Several graphs from one input, as one: what they give, in their order."""

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self.graphs = graphs
        self.input_names = graphs[0].input_names
        self.output_names = tuple(name for graph in graphs for name in graph.output_names)
        self.batches = all(graph.batches for graph in graphs)

    def run(self, inputs: Sequence[Array], stop: Stop | None = None) -> Tensors:
        return tuple(tensor for graph in self.graphs for tensor in graph.run(inputs, stop))


class ExitFitting:
    """Makes the exits that were asked for, behind heads of the precision that devices prefer.

    Args:
        settings: of the calibration.
        graph: the fp32 model.
        variants: precision → model.
        boundaries: of the bundle.
        data: to train and to test on.
        work: for finished steps, and for checkpoints.
        key: of model and calibration data.
        reporter: hears what is done.
    """

    def __init__(
        self,
        settings: Settings,
        graph: ModelGraph,
        variants: Mapping[str, onnx.ModelProto],
        boundaries: Sequence[Boundary],
        data: ExitData,
        work: WorkFolder,
        key: str,
        reporter: Reporter,
    ) -> None:
        self._settings = settings
        self._graph = graph
        self._boundaries = boundaries
        self._data = data
        self._work = work
        self._reporter = reporter
        self._places = choose_exits(boundaries, settings.exits)
        self._precision = "int8" if "int8" in variants else "fp32"
        self._output = boundaries[-1].tensors[0]
        self._runtime = create_runtime("onnx", settings.threads)
        model = variants[self._precision]
        self._heads = [self._load(self._span(model, boundaries[0], place)) for place in self._places]
        self._model = self._load(graph.model)
        files = fingerprint((*data.training, *data.tuning, *data.held_out))
        places = ",".join(place.label for place in self._places)
        training = f"{settings.exit_steps} {settings.exit_views} {settings.seed}"
        self._key = digest(key, files, places, self._precision, training)
        # The promises are to hold together.
        self._certainty = 1 - (1 - CERTAINTY) / max(1, len(self._places) * len(settings.exit_drops))

    def run(self) -> list[FittedExit]:
        """The exits of which something can be promised.

        Raises:
            CalibrationError: if there are too few files, or an exit cannot be trained.
        """
        if not self._places:
            return []
        self._check_numbers()
        graphs = [self._trained(number) for number in range(len(self._places))]
        confidence, classes, uncut, labels = self._held_out(graphs)
        right = uncut if labels is None else labels
        exits = []
        for number, (place, graph) in enumerate(zip(self._places, graphs, strict=True)):
            name = f"exit{place.index}-{self._precision}"
            spoilt = (classes[number] != right) & (uncut == right)
            thresholds = []
            for drop in sorted(self._settings.exit_drops):
                chosen = choose_threshold(confidence[number], spoilt, drop, self._certainty)
                if chosen is None:
                    self._reporter.note(
                        f"{name}: no threshold keeps {drop:.2%} with {CERTAINTY:.0%} certainty on {len(uncut)} inputs "
                        "that were held out: train more (--train-data, --exit-views, --exit-steps), or take a later cut"
                    )
                    continue
                answered = confidence[number] >= chosen.confidence
                good = float((classes[number] == right)[answered].mean())
                thresholds.append(Threshold(chosen.confidence, drop, CERTAINTY, len(uncut), chosen.rate, good))
            if thresholds:
                file = f"exits/{place.index}.{self._precision}.onnx"
                entry = Exit(name, place.index, self._precision, (GraphFile("onnx", file),), tuple(thresholds), 0.0)
                exits.append(FittedExit(entry, graph))
        return exits

    def _check_numbers(self) -> None:
        count, least = len(self._data.held_out), min(self._settings.exit_drops)
        needed = samples_needed(least, self._certainty)
        if count < needed:
            could = f", or allow --exit-drop {least_drop(count, self._certainty):.2g}" if count else ""
            raise CalibrationError(
                f"--exit-drop {least:g} with {CERTAINTY:.0%} certainty takes {needed} held-out inputs, and there are "
                f"{count} that nothing is fitted to: give more in --data, or --train-data for the training{could}"
            )
        if not self._data.training:
            raise CalibrationError("there are no files left to train exits on: give more in --data, or --train-data")

    def _load(self, model: onnx.ModelProto) -> Graph:
        return self._runtime.load(model.SerializeToString(), {})

    def _span(self, model: onnx.ModelProto, start: Boundary, end: Boundary) -> onnx.ModelProto:
        return extract_span(model, start.tensors, end.tensors, self._graph.batch)

    # -- training ------------------------------------------------------------------------------------------------

    @cached_property
    def _features(self) -> tuple[list[Array], list[Array]]:
        """Tensors of every exit's boundary, then the uncut model's scores: of training, and of tuning."""
        specs = [spec for place in self._places for spec in place.tensors]
        most = max(1, _BYTES // sum(2 * spec.size for spec in (*specs, self._output)))
        first, how, settings = self._boundaries[0].tensors, self._data.preprocessing, self._settings
        way = _Way((*self._heads, self._model))
        view = partial(random_view, rng=np.random.default_rng(settings.seed))
        found = []
        for title, sources, views in (
            ("training", self._data.training, settings.exit_views),
            ("tuning", self._data.tuning, 1),
        ):
            with self._reporter.stage(f"features for {title} exits", min(most, len(sources))) as advance:
                found.append(collect_features(way, sources, first, how, most, view, views, advance))
        return found[0], found[1]

    def _trained(self, number: int) -> bytes:
        """The graph of an exit, from the work folder if it is there."""
        own = digest(self._key, str(number))

        def make() -> bytes:
            from cutpoint.calibration.exits.training import find_temperature, log_probabilities, train_exit

            place, steps = self._places[number], self._settings.exit_steps
            skipped = sum(len(earlier.tensors) for earlier in self._places[:number])
            which = slice(skipped, skipped + len(place.tensors))
            training, tuning = self._features
            probable = _probable(tuning[-1])
            wanted = log_probabilities(training[-1], probable)
            start, near = self._start(place)
            with self._reporter.stage(f"training the exit at {place.label}", steps) as advance:
                head = train_exit(
                    start,
                    self._graph.batch,
                    training[which],
                    wanted,
                    steps,
                    self._settings.seed,
                    near,
                    self._work.path / f"training-{own}",
                    advance,
                )
            classes, given = tuning[-1].argmax(1), _singly(tuning[which])
            if self._precision == "int8":
                head = self._quantised(place, head, training[which], given, classes)
            scores = log_probabilities(scores_of(head, given, self._runtime), probable)
            temperature = find_temperature(scores, classes)
            data: bytes = with_confidence(head, temperature, probable).SerializeToString(deterministic=True)
            return data

        return self._work.get("exit", own, make)

    def _start(self, place: Boundary) -> tuple[onnx.ModelProto, bool]:
        """The exit before its training, and whether it is near the model."""
        tail = self._span(self._graph.model, place, self._boundaries[-1])
        short = shortened(tail)
        if short is not None:
            return short, False
        cheap = pooled_early(tail)
        if cheap is not None:
            return cheap, True
        opset = next(entry.version for entry in self._graph.model.opset_import if entry.domain in ("", "ai.onnx"))
        return pooled_head(place.tensors, self._output, opset, self._graph.batch, self._settings.seed), False

    def _quantised(
        self,
        place: Boundary,
        head: onnx.ModelProto,
        training: Sequence[Array],
        samples: Sequence[Tensors],
        classes: Array,
    ) -> onnx.ModelProto:
        """The exit in int8, or as it is if int8 costs it many of the uncut model's `classes`."""
        spread = np.linspace(0, len(training[0]) - 1, min(_RANGES, len(training[0]))).astype(int)
        ranges = _singly([tensor[spread] for tensor in training])
        small, lost = quantise_exit(head, place.tensors, ranges, samples, classes, self._runtime)
        if lost < _COSTLY:
            return small
        self._reporter.note(f"the exit at {place.label} stays in floats: int8 costs {lost:.1%} of its answers")
        return head

    # -- testing -------------------------------------------------------------------------------------------------

    def _held_out(self, graphs: Sequence[bytes]) -> tuple[Array, Array, Array, Array | None]:
        """What was held out, answered.

        Returns:
            Confidences (exits, samples), classes (exits, samples), the uncut model's classes (samples,), and the labels
            (samples,), or None where one has none.
        """
        loaded = [self._runtime.load(graph, {}) for graph in graphs]

        def ask(sample: Tensors) -> list[tuple[float, int]]:
            told = []
            for head, graph in zip(self._heads, loaded, strict=True):
                scores, confidence = graph.run(head.run(sample))
                told.append((float(confidence.item()), int(scores.argmax())))
            return [*told, (1.0, int(self._model.run(sample)[0].argmax()))]

        rows: list[list[tuple[float, int]]] = []
        labels: list[int | None] = []
        sources, specs = self._data.held_out, self._boundaries[0].tensors
        with self._reporter.stage("testing exits", len(sources)) as advance:
            for source in sources:
                one = load_samples([source], 1, specs, self._data.preprocessing, advance)
                if one.tensors:
                    rows.append(ask(one.tensors[0]))
                    labels.append(source.label)
        table = np.array(rows, np.float64).transpose(1, 2, 0)
        classes = table[:, 1].astype(np.int64)
        known = None if None in labels else np.array(labels)
        return table[:-1, 0], classes[:-1], classes[-1], known


def _singly(tensors: Sequence[Array]) -> list[Tensors]:
    """Tensors (samples, …) as samples."""
    return [
        tuple(t[row : row + 1].astype(np.float32) if t.dtype == np.float16 else t[row : row + 1] for t in tensors)
        for row in range(len(tensors[0]))
    ]


def _probable(scores: Array) -> bool:
    """Whether scores (samples, classes) are probabilities already."""
    return bool(scores.min() >= 0) and bool(np.all(np.abs(scores.astype(np.float32).sum(1) - 1) < 1e-2))
