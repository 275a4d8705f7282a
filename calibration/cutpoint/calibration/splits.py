"""The files of a calibration, divided: to calibrate on, to measure on, to train on."""

from __future__ import annotations

from dataclasses import dataclass

from cutpoint.calibration.data import Dataset, Samples, Source, load_samples, shuffled, split
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.prepare import boundary0, make_preprocessing
from cutpoint.calibration.importers import ImportedModel
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.tasks.annotations import annotate
from cutpoint.sdk.bundle import Preprocessing

__all__ = ["Splits", "load_splits"]


@dataclass(frozen=True)
class Splits:
    """What is calibrated on, what points are measured on, and what codecs and exits may be trained on.

    Attributes:
        calibration: loaded; int8, codecs and times come from it.
        evaluation: loaded; of a folder with few files the same ones.
        classes: names that the evaluation's folders give.
        preprocessing: of boundary 0; None: the files hold tensors.
        training: all files that calibration may see, in a mixed order.
    """

    calibration: Samples
    evaluation: Samples
    classes: tuple[str, ...]
    preprocessing: Preprocessing | None
    training: list[Source]

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Files that could not be read, with the reason."""
        both = {s.name: reason for s, reason in (*self.calibration.skipped, *self.evaluation.skipped)}
        return tuple(sorted(both.items()))


def load_splits(
    settings: Settings, imported: ImportedModel, dataset: Dataset, evaluation: Dataset | None, reporter: Reporter
) -> Splits:
    """Divides the files, and loads those that calibration and measuring take.

    Args:
        settings: how many samples, and how pictures become boundary 0.
        imported: the model.
        dataset: files to calibrate on, and to measure on where there is no `evaluation`.
        evaluation: files to measure on.
        reporter: hears what is done, and what could not be read.

    Raises:
        CalibrationError: if no file of one of them can be read, or they do not go together.
    """
    preprocessing = None if dataset.tensors else make_preprocessing(imported, settings.preprocessing)
    specs = boundary0(imported, preprocessing)
    if evaluation is None:
        first, second, disjoint = split(dataset.sources, settings.calibration_samples, settings.samples)
        if not disjoint:
            reporter.note(f"only {len(dataset.sources)} files: points are measured on the calibration files themselves")
    else:
        if evaluation.tensors != dataset.tensors:
            raise CalibrationError(f"{evaluation.folder} and {dataset.folder}: one holds pictures, the other tensors")
        first, second = shuffled(dataset.sources), shuffled(evaluation.sources)
    second = list(annotate((evaluation or dataset).folder, second))
    if any(source.label is not None for source in second):
        second = [source for source in second if source.label is not None]
    loaded = []
    for title, sources, most in (
        ("loading calibration data", first, settings.calibration_samples),
        ("loading evaluation data", second, settings.samples),
    ):
        with reporter.stage(title, min(most, len(sources))) as advance:
            samples = load_samples(sources, most, specs, preprocessing, advance)
        if not samples.tensors:
            reason = samples.skipped[0][1] if samples.skipped else "no files left"
            raise CalibrationError(f"{title}: no file of {len(sources)} could be read; the first: {reason}")
        loaded.append(samples)
    splits = Splits(loaded[0], loaded[1], (evaluation or dataset).classes, preprocessing, first)
    if splits.skipped:
        names = "; ".join(reason for _, reason in splits.skipped)
        reporter.note(f"{len(splits.skipped)} unreadable file{'s' * (len(splits.skipped) > 1)} skipped: {names}")
    return splits
