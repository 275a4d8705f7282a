"""A shared backbone with several heads that imitate an oracle (MEMTL, 2309.00907)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from cutpoint.calibration.learning.costs import injected
from cutpoint.calibration.learning.demonstrations import Demonstrations
from cutpoint.calibration.learning.policy_file import Layer
from cutpoint.calibration.learning.task import Trained, TrainingTask
from cutpoint.calibration.training.loop import Budget, train
from cutpoint.codecs import Array
from cutpoint.sdk.energy import EnergyModel
from cutpoint.sdk.observation import FEATURES

__all__ = ["EnsembleNet", "train_memtl"]

_BACKBONE, _HEAD, _HEADS = 64, 32, 4
_BATCH, _RATE = 256, 3e-3
#: Worlds around each decision, and how often they are drawn anew while the training lasts.
_WORLDS, _DRAWS = 24, 8
#: Most regret of one decision, in units of the device alone: an outage would outweigh all else.
_MOST_REGRET = 5.0
#: Weight of the oracle's own choice beside the regret.
_IMITATION = 0.1


class EnsembleNet(nn.Module):
    """One backbone and `heads` heads, each with a hidden layer.

    Args:
        points: that are scored.
        heads: at least two.
    """

    def __init__(self, points: int, heads: int = _HEADS) -> None:
        super().__init__()
        self.backbone = nn.Linear(len(FEATURES), _BACKBONE)
        shapes = ((heads, _BACKBONE, _HEAD), (heads, 1, _HEAD), (heads, _HEAD, points), (heads, 1, points))
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(shape)) for shape in shapes)
        for weight in (self.heads[0], self.heads[2]):
            nn.init.normal_(weight, std=(2.0 / weight.shape[1]) ** 0.5)

    def forward(self, observations: Tensor) -> Tensor:
        """Logits, (heads, n, points), of observations (n, features)."""
        inner, inner_bias, outer, outer_bias = self.heads
        hidden: Tensor = torch.relu(torch.relu(self.backbone(observations)) @ inner + inner_bias)
        return torch.add(hidden @ outer, outer_bias)

    def layers(self) -> tuple[list[Layer], list[Layer]]:
        """Backbone and heads, for the policy file."""
        inner, inner_bias, outer, outer_bias = (_array(parameter) for parameter in self.heads)
        backbone = Layer(_array(self.backbone.weight).T.copy(), _array(self.backbone.bias))
        return [backbone], [Layer(inner, inner_bias), Layer(outer, outer_bias)]

    def judge(self, observations: Array) -> tuple[Array, Array]:
        """Scores, (n, points), and the heads' disagreement, (n,)."""
        with torch.no_grad():
            each = torch.softmax(self(torch.from_numpy(observations)), dim=-1)
        scores = each.mean(dim=0)
        apart = (each - scores).abs().sum(dim=-1).mean(dim=0) / 2
        return _array(scores), _array(apart)


def _array(tensor: Tensor) -> Array:
    return cast(Array, tensor.detach().numpy())


def train_memtl(
    task: TrainingTask,
    shown: Demonstrations,
    budget: Budget,
    checkpoint: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Trained:
    """Trains the heads to do what costs least.

    With p_h the probabilities of head h, and c_a the γ-quantile of the cost of point a over injected worlds (over
    nothing injected without a quantile), the loss is the expected regret Σ_a p_h(a) · (c_a - min c), in units of
    what the device alone would cost, and a little cross entropy towards the oracle's own choice, argmin c. Every head
    sees a bootstrap of its own, so that they agree where the demonstrations leave no doubt.

    Args:
        task: what for.
        shown: what the oracle would have done.
        budget: of the training.
        checkpoint: see `cutpoint.calibration.training.loop.train`.
        advance: called `budget.ticks` times.
    """
    with torch.random.fork_rng():
        torch.manual_seed(task.seed)
        net = EnsembleNet(shown.taken.device_ms.shape[1])
    rng = np.random.default_rng((task.seed, 2))
    regrets = [torch.from_numpy(_regret(task, shown, rng)) for _ in range(_DRAWS if task.quantile is not None else 1)]
    heads = net.heads[0].shape[0]
    bootstrap = torch.from_numpy(rng.poisson(1.0, (heads, len(shown.units))).astype(np.float32))
    observations = torch.from_numpy(shown.observations)

    def loss(step: int, progress: float) -> tuple[Tensor, Mapping[str, float]]:
        batch = torch.randint(len(observations), (_BATCH,))
        regret = regrets[step % len(regrets)][batch]
        logits = net(observations[batch])
        chosen = torch.log_softmax(logits, dim=-1)
        expected = (chosen.exp() * regret).sum(dim=-1)
        imitation = -chosen.gather(-1, regret.argmin(dim=-1).expand(heads, -1).unsqueeze(-1)).squeeze(-1)
        weights = bootstrap[:, batch]
        value = (weights * (expected + _IMITATION * imitation)).mean()
        return value, {"regret": expected.mean().item()}

    curves = train(net, [{"params": net.parameters(), "lr": _RATE}], loss, budget, checkpoint, advance)
    everything = np.concatenate([shown.observations, shown.wrong])
    scores, disagreement = net.judge(everything)
    config = {
        "decisions": len(shown.units),
        "steps": budget.steps if budget.minutes is None else None,
        "minutes": budget.minutes,
        "heads": int(heads),
        "regret": curves["regret"][-1],
    }
    backbone, tops = net.layers()
    return Trained("memtl", backbone, tops, "Relu", everything, scores, disagreement, config)


def _regret(task: TrainingTask, shown: Demonstrations, rng: np.random.Generator) -> Array:
    """What each decision would cost more than the best one, (n, points), float32."""
    error, count = (0.0, 1) if task.quantile is None else (task.error, _WORLDS)
    costs = injected(shown.taken, task.objective, EnergyModel(), error, rng, count)
    judged = costs[0] if task.quantile is None else np.quantile(costs, task.quantile, axis=0)
    regret = (judged - judged.min(axis=1, keepdims=True)) / shown.units
    return np.asarray(np.minimum(regret, _MOST_REGRET), np.float32)
