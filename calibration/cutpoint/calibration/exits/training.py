"""Trains an exit to answer like the uncut model, and finds the temperature of its confidence. No labels are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

from cutpoint.calibration.training.landing import Landing
from cutpoint.calibration.training.loop import Budget, train
from cutpoint.codecs import Array

__all__ = ["find_temperature", "log_probabilities", "train_exit"]

#: Learning rates: of an exit that has much to learn, and of one that begins near the model, which larger steps unlearn.
_RATE, _NEAR_RATE = 5e-4, 1e-4
_BATCH = 32
#: Temperature at which the model is imitated: what it thinks of the other classes counts, too.
_SOFT = 2.0
#: Temperatures that are tried for the confidence.
_TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(5.0), 97))
#: Probabilities below this are taken as this.
_LEAST = 1e-12


def train_exit(
    head: onnx.ModelProto,
    batch: bool,
    features: Sequence[Array],
    wanted: Array,
    steps: int,
    seed: int,
    near: bool,
    checkpoint: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> onnx.ModelProto:
    """`head` with other weights: distilled from the uncut model (Hinton et al., arXiv 1503.02531).

    Args:
        head: from the boundary's tensors to scores of classes.
        batch: whether it takes several samples at once; otherwise they go one by one.
        features: tensors of the boundary, (samples, …) each.
        wanted: the uncut model's logarithms of probabilities, (samples, classes).
        steps: of training.
        seed: of the order of the samples.
        near: whether it computes nearly what the model does, before any training.
        checkpoint: file from which an interrupted training goes on; None: none.
        advance: called for each step.

    Raises:
        CalibrationError: if a layer has no counterpart in torch, or the training diverges.
    """
    module = Landing(head, batch)
    given = [torch.from_numpy(tensor) for tensor in features]
    goal = torch.from_numpy(wanted)
    order = np.random.default_rng(seed)
    epochs = -(-steps * _BATCH // len(goal))
    places = torch.from_numpy(np.concatenate([order.permutation(len(goal)) for _ in range(epochs)]))

    def loss(step: int, _: float) -> tuple[Tensor, dict[str, float]]:
        which = places[step * _BATCH : (step + 1) * _BATCH]
        scores = module([tensor[which].float() for tensor in given])[0]
        ours, theirs = (functional.log_softmax(x / _SOFT, 1) for x in (scores, goal[which].float()))
        return _SOFT**2 * (theirs.exp() * (theirs - ours)).sum(1).mean(), {}

    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    train(
        module,
        [{"params": parameters, "lr": _NEAR_RATE if near else _RATE}],
        loss,
        Budget(steps),
        checkpoint,
        advance,
    )
    return module.graph()


def log_probabilities(scores: Array, probable: bool) -> Array:
    """Logarithms of probabilities, up to a constant of each sample, float32: scores, or those of probabilities."""
    scores = np.asarray(scores, np.float32)
    return np.log(np.maximum(scores, _LEAST)) if probable else scores


def find_temperature(scores: Array, classes: Array) -> float:
    """The temperature at which confidences are true: the probability of the best class against the second is that of
    the class being the uncut model's (Guo et al., arXiv 1706.04599, for the two). Of few samples it believes less, as
    Platt, Probabilistic Outputs for Support Vector Machines, 1999.

    Args:
        scores: logarithms of probabilities, (samples, classes), of samples that the exit was not trained on.
        classes: the uncut model's, int (samples,).
    """

    def loss(temperature: float) -> float:
        return float(functional.binary_cross_entropy_with_logits(margins / temperature, wanted))

    best = torch.from_numpy(scores).float().topk(2).values
    margins = best[:, 0] - best[:, 1]
    right = torch.from_numpy(scores.argmax(1) == classes)
    good, bad = int(right.sum()), int((~right).sum())
    wanted = torch.where(right, (good + 1) / (good + 2), 1 / (bad + 2))
    return float(min(_TEMPERATURES, key=loss))
