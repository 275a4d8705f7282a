"""The contract of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cutpoint.calibration.data import Source
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Preprocessing, TaskKind, TaskMetric

__all__ = ["Judge", "Situation", "Verdict", "judge_all"]

#: What a judge keeps of one answer: numbers that mean something to that judge alone.
Verdict = list[float]


@dataclass(frozen=True)
class Situation:
    """What a task is judged on.

    Attributes:
        outputs: of the model.
        sources: the samples' files, with their labels.
        uncut: the uncut model's outputs for each sample.
        preprocessing: None where the model takes no pictures.
    """

    outputs: tuple[TensorSpec, ...]
    sources: tuple[Source, ...]
    uncut: Sequence[Sequence[Array]]
    preprocessing: Preprocessing | None = None

    @property
    def labelled(self) -> bool:
        """Whether every sample has a class label."""
        return bool(self.sources) and all(source.label is not None for source in self.sources)


class Judge(Protocol):
    """Judges answers one by one, and makes the task's metric of the verdicts.

    Verdicts are plain numbers, so that they can be kept: an interrupted calibration goes on from them, and more samples
    are added to those that were judged before.

    Attributes:
        kind: of the manifest's task.
        metric: of the manifest's task.
        classes: how many there are; 0 where there are none.
    """

    kind: TaskKind
    metric: TaskMetric
    classes: int

    def judge(self, sample: int, answer: Sequence[Array]) -> Verdict:
        """What there is to say about an answer to sample number `sample`; called from several threads."""
        ...

    def score(self, verdicts: Mapping[int, Verdict]) -> float:
        """The metric, 0 … 1, over sample number → verdict."""
        ...


def judge_all(judge: Judge, answers: Sequence[Sequence[Array]]) -> float:
    """The metric of an answer to each sample, in their order."""
    return judge.score({number: judge.judge(number, answer) for number, answer in enumerate(answers)})
