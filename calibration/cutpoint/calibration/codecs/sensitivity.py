"""How far the model's outputs move when what crosses a boundary is disturbed.

Only runs of the tail are needed, no gradients, so it works for whatever the runtime can run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cutpoint.calibration.tasks.classification import is_classification
from cutpoint.codecs import Array, TensorSpec

__all__ = ["SAMPLES", "Divergence", "TailRun"]

#: As many samples as anybody asks a `Divergence` about.
SAMPLES = 48

#: From a boundary's tensors, batch 1, to the model's outputs.
TailRun = Callable[[Sequence[Array]], Sequence[Array]]


def _log_probabilities(scores: Array) -> Array:
    """Of one vector of scores, which are probabilities already or become them by softmax."""
    values = scores.astype(np.float64).ravel()
    if values.min() >= 0 and abs(values.sum() - 1) < 1e-3:
        return np.asarray(np.log(np.maximum(values, 1e-12)))
    values -= values.max()
    return np.asarray(values - np.log(np.exp(values).sum()))


class Divergence:
    """The mean divergence of the outputs for disturbed tensors from those for the undisturbed ones.

    For class scores it is the Kullback–Leibler divergence of the probabilities in nats; for other outputs the squared
    error as a share of the squared output, the mean over the output tensors.

    Attributes:
        classes: whether the outputs are class scores.

    Args:
        tail: runs the model from the boundary on.
        outputs: of the model.
        samples: the undisturbed tensors of the boundary, for each sample.
    """

    def __init__(self, tail: TailRun, outputs: Sequence[TensorSpec], samples: Sequence[Sequence[Array]]) -> None:
        self._tail = tail
        self.classes = is_classification(outputs)
        self._wanted = [self._answer(sample) for sample in samples]

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._wanted)

    def __call__(self, samples: Sequence[Sequence[Array]]) -> float:
        """The mean over disturbed `samples`, the first ones given to the constructor in the same order."""
        return float(np.mean([self._distance(w, self._answer(s)) for w, s in zip(self._wanted, samples, strict=False)]))

    def _answer(self, sample: Sequence[Array]) -> list[Array]:
        outputs = self._tail(sample)
        return [_log_probabilities(outputs[0])] if self.classes else [value.astype(np.float64) for value in outputs]

    def _distance(self, wanted: Sequence[Array], given: Sequence[Array]) -> float:
        if self.classes:
            return float((np.exp(wanted[0]) * (wanted[0] - given[0])).sum())
        shares = [np.square(w - g).sum() / max(np.square(w).sum(), 1e-30) for w, g in zip(wanted, given, strict=True)]
        return float(np.mean(shares))
