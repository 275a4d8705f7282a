"""Classification: the class with the highest score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.tasks.judge import Situation, Verdict
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import TaskKind, TaskMetric

__all__ = ["ClassificationJudge", "is_classification"]


def is_classification(outputs: Sequence[TensorSpec]) -> bool:
    """Whether the outputs look like class scores: one float tensor (1, classes)."""
    return len(outputs) == 1 and len(outputs[0].shape) == 2 and outputs[0].shape[1] > 1 and outputs[0].dtype[0] == "f"


class ClassificationJudge:
    """`top1` against labels; without labels `agreement`: how often the class is the uncut model's.

    Args:
        situation: model and data.
        labelled: whether to judge against labels.

    Raises:
        CalibrationError: if the outputs are no class scores, labels are wanted and lacking, or a label lies outside the
            classes that the model knows.
    """

    kind: TaskKind = "classification"

    def __init__(self, situation: Situation, labelled: bool = True) -> None:
        if not is_classification(situation.outputs):
            raise CalibrationError("task 'classification' wants one float output (1, classes): see --task")
        self.classes = situation.outputs[0].shape[1]
        self.metric: TaskMetric = "top1" if labelled else "agreement"
        if not labelled:
            self._wanted = [int(np.argmax(answer[0])) for answer in situation.uncut]
            return
        if (bare := next((s.name for s in situation.sources if s.label is None), None)) is not None:
            raise CalibrationError(
                f"task 'classification' wants labels, {bare} has none: give a folder per class, or a labels.tsv; "
                "--task auto measures agreement with the uncut model"
            )
        self._wanted = [source.label for source in situation.sources if source.label is not None]
        if max(self._wanted) >= self.classes:
            raise CalibrationError(
                f"the data has class index {max(self._wanted)}, but the model gives {self.classes} scores"
            )

    def judge(self, sample: int, answer: Sequence[Array]) -> Verdict:
        return [float(int(np.argmax(answer[0])) == self._wanted[sample])]

    def score(self, verdicts: Mapping[int, Verdict]) -> float:
        return float(np.mean([verdict[0] for verdict in verdicts.values()]))
