"""Semantic segmentation: mean intersection over union."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.tasks.annotations import read_mask
from cutpoint.calibration.tasks.judge import Situation, Verdict
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import TaskKind, TaskMetric

__all__ = ["SegmentationJudge"]

#: Value of mask pixels that count for no class.
_IGNORED = 255


class SegmentationJudge:
    """`miou`: intersection over union of each class that occurs, over all samples; the mean over these classes.

    Pixels 255 of a mask count for nothing. Without masks the uncut model's own classes take their place, and the
    metric says so: `miou_agreement`.

    Raises:
        CalibrationError: if the output is no map of scores, a mask is lacking or does not read, or has a class that the
            model does not know.
    """

    kind: TaskKind = "segmentation"

    def __init__(self, situation: Situation) -> None:
        if not _is_map(situation):
            raise CalibrationError("task 'segmentation' wants one float output (1, classes, height, width): see --task")
        _, self.classes, height, width = situation.outputs[0].shape
        masks = [source.mask for source in situation.sources]
        self.metric: TaskMetric = "miou"
        if all(mask is None for mask in masks):
            self.metric = "miou_agreement"
            self._wanted = [np.argmax(answer[0][0], axis=0) for answer in situation.uncut]
            return
        self._wanted = []
        for source in situation.sources:
            if source.mask is None:
                raise CalibrationError(f"task 'segmentation' wants a mask for each picture, {source.name} has none")
            mask = read_mask(source.mask, situation.preprocessing, height, width, _IGNORED)
            known = mask[mask != _IGNORED]
            if known.size and known.max() >= self.classes:
                raise CalibrationError(
                    f"{source.mask}: class {known.max()}, but the model gives {self.classes} maps of scores"
                )
            self._wanted.append(mask)

    @staticmethod
    def suits(situation: Situation) -> bool:
        """Whether the output is a map of scores and each sample has a mask."""
        return _is_map(situation) and all(source.mask is not None for source in situation.sources)

    def judge(self, sample: int, answer: Sequence[Array]) -> Verdict:
        """Pixels of each class in both, then in either."""
        wanted = self._wanted[sample]
        counted = wanted != _IGNORED
        given, wanted = np.argmax(answer[0][0], axis=0)[counted], wanted[counted]
        both = np.bincount(wanted[given == wanted], minlength=self.classes)
        either = np.bincount(wanted, minlength=self.classes) + np.bincount(given, minlength=self.classes) - both
        return [float(n) for n in (*both, *either)]

    def score(self, verdicts: Mapping[int, Verdict]) -> float:
        both, either = np.sum(list(verdicts.values()), axis=0).reshape(2, self.classes)
        there = either > 0
        return float(np.mean(both[there] / either[there])) if there.any() else 0.0


def _is_map(situation: Situation) -> bool:
    outputs = situation.outputs
    return len(outputs) == 1 and len(outputs[0].shape) == 4 and outputs[0].shape[1] > 1 and outputs[0].dtype[0] == "f"
