"""What the outputs mean, and how far an answer through a cut is from what it should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from cutpoint.calibration.errors import CalibrationError
from cutpoint.codecs import Array, TensorSpec

__all__ = ["Judge", "agreement", "is_classification"]


def is_classification(outputs: Sequence[TensorSpec]) -> bool:
    """Whether the outputs look like class scores: one float tensor (1, classes)."""
    return len(outputs) == 1 and len(outputs[0].shape) == 2 and outputs[0].shape[1] > 1 and outputs[0].dtype[0] == "f"


def agreement(given: Sequence[Array], wanted: Sequence[Array]) -> float:
    """How alike two sets of output tensors are, 0 … 1.

    The mean over the tensors of ``max(0, 1 - |given - wanted|² / |wanted|²)`` with Euclidean norms: the share of the
    wanted tensor's energy that the given one reproduces. 1 where they are equal, 0.99 at a signal-to-noise ratio of
    20 dB, 0 where the difference is as large as the wanted tensor itself.
    """
    scores = []
    for a, b in zip(given, wanted, strict=True):
        energy = float(np.square(b, dtype=np.float64).sum())
        error = float(np.square(a.astype(np.float64) - b).sum())
        scores.append(max(0.0, 1.0 - error / energy) if energy else float(error == 0))
    return float(np.mean(scores))


class Judge:
    """Gives each answer a score from 0 to 1; the task metric is their mean.

    * Scores of classes, with labels (`top1`): 1 if the highest score is the label's.
    * Scores of classes, without labels (`agreement`): 1 if the highest score is where the uncut model's is.
    * Any other outputs (`agreement`): see the function `agreement`.

    Args:
        outputs: of the model.
        labels: of each sample; None where they are not known.
        uncut: the uncut model's outputs for each sample.

    Raises:
        CalibrationError: if a label lies outside the classes that the model knows.
    """

    def __init__(
        self, outputs: Sequence[TensorSpec], labels: Sequence[int | None], uncut: Sequence[Sequence[Array]]
    ) -> None:
        self.kind: Literal["classification", "agreement"] = (
            "classification" if is_classification(outputs) else "agreement"
        )
        labelled = self.kind == "classification" and bool(labels) and all(label is not None for label in labels)
        self.metric: Literal["top1", "agreement"] = "top1" if labelled else "agreement"
        self._uncut = uncut
        self._wanted: list[int] = []
        if labelled:
            self._wanted = [label for label in labels if label is not None]
            classes = outputs[0].shape[1]
            if max(self._wanted) >= classes:
                raise CalibrationError(
                    f"the data has class index {max(self._wanted)}, but the model gives {classes} scores"
                )
        elif self.kind == "classification":
            self._wanted = [int(np.argmax(answer[0])) for answer in uncut]

    def score(self, sample: int, answer: Sequence[Array]) -> float:
        """The score of an answer to sample number `sample`."""
        if self.kind == "classification":
            return float(int(np.argmax(answer[0])) == self._wanted[sample])
        return agreement(answer, self._uncut[sample])

    def uncut_metric(self) -> float:
        """The metric of the uncut model's own answers."""
        return float(np.mean([self.score(number, answer) for number, answer in enumerate(self._uncut)]))
