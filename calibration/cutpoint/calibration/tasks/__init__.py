"""Tasks: what the outputs mean, and how good an answer through a cut is. One module for each task."""

from __future__ import annotations

from collections.abc import Callable

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.tasks.classification import ClassificationJudge, is_classification
from cutpoint.calibration.tasks.detection import DetectionJudge
from cutpoint.calibration.tasks.judge import Judge, Situation, Verdict, judge_all
from cutpoint.calibration.tasks.segmentation import SegmentationJudge
from cutpoint.calibration.tasks.tensors import TensorJudge, agreement

__all__ = ["TASKS", "Judge", "Situation", "Verdict", "agreement", "is_classification", "judge_all", "make_judge"]

#: Task → what judges it. With ``auto``, the first that finds its outputs and its labels; `TensorJudge` always does.
TASKS: dict[str, Callable[[Situation], Judge]] = {
    "classification": ClassificationJudge,
    "segmentation": SegmentationJudge,
    "detection": DetectionJudge,
    "embedding": TensorJudge,
}


def make_judge(task: str, situation: Situation) -> Judge:
    """The judge of a task.

    Args:
        task: of `TASKS`, or ``auto``.
        situation: model and data.

    Raises:
        CalibrationError: if the model's outputs or the data's labels are not those of the task; for ``auto``, if labels
            are there that do not fit.
    """
    if task != "auto":
        if task not in TASKS:
            raise CalibrationError(f"task {task!r} is not one of auto, {', '.join(TASKS)}")
        return TASKS[task](situation)
    if is_classification(situation.outputs):
        return ClassificationJudge(situation, labelled=situation.labelled)
    for kind in (DetectionJudge, SegmentationJudge):
        if kind.suits(situation):
            return kind(situation)
    return TensorJudge(situation)
