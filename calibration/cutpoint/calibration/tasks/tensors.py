"""Any tensors: how much of what the uncut model gives is still there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cutpoint.calibration.tasks.judge import Situation, Verdict
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import TaskKind, TaskMetric

__all__ = ["TensorJudge", "agreement", "cosine"]


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


def cosine(given: Array, wanted: Array) -> float:
    """The cosine of the angle between two tensors, 0 … 1: opposite ones count as unlike as orthogonal ones."""
    a, b = given.astype(np.float64).ravel(), wanted.astype(np.float64).ravel()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return min(1.0, max(0.0, float(a @ b) / norms)) if norms else float(not a.any() and not b.any())


class TensorJudge:
    """`cosine` where the only output is a vector (1, size), `agreement` for all else. Needs no labels."""

    def __init__(self, situation: Situation) -> None:
        self._uncut = situation.uncut
        vector = len(situation.outputs) == 1 and len(situation.outputs[0].shape) == 2
        self.kind: TaskKind = "embedding" if vector else "agreement"
        self.metric: TaskMetric = "cosine" if vector else "agreement"
        self.classes = 0

    def judge(self, sample: int, answer: Sequence[Array]) -> Verdict:
        wanted = self._uncut[sample]
        return [cosine(answer[0], wanted[0]) if self.metric == "cosine" else agreement(answer, wanted)]

    def score(self, verdicts: Mapping[int, Verdict]) -> float:
        return float(np.mean([verdict[0] for verdict in verdicts.values()]))
