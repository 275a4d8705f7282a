"""Proximal policy optimisation (1707.06347) over the environment, with stable-baselines3."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from cutpoint.calibration.learning.environment import SplitInferenceEnv
from cutpoint.calibration.learning.policy_file import Layer
from cutpoint.calibration.learning.task import Trained, TrainingTask
from cutpoint.calibration.training.loop import Budget
from cutpoint.codecs import Array
from cutpoint.sdk.files import write_file
from cutpoint.sdk.observation import FEATURES

__all__ = ["ROLLOUT", "train_ppo"]

_ENVIRONMENTS, _STEPS = 8, 128
#: Decisions between two updates of the policy.
ROLLOUT = _ENVIRONMENTS * _STEPS
#: An answer is paid for soon after its decision, and hardly any decision touches those that follow.
_SETTINGS: dict[str, Any] = {"gamma": 0.6, "gae_lambda": 0.9, "ent_coef": 0.01, "batch_size": 256, "n_epochs": 10}
_RATE, _LEAST_RATE = 2e-3, 0.1
_NET = [64, 64]


def train_ppo(
    task: TrainingTask,
    budget: Budget,
    checkpoint: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Trained:
    """Trains on the environment's reward, `budget.steps` decisions or so many minutes.

    Every rollout has worlds and random numbers of its own that follow from its number, so that a training that was
    interrupted ends as it would have done otherwise.

    Args:
        task: what for.
        budget: of the training.
        checkpoint: file that is written after each rollout and removed in the end; None: none.
        advance: called `budget.ticks` times.
    """

    def environment() -> SplitInferenceEnv:
        return SplitInferenceEnv(task.bundle, task.objective, task.worlds, task.error, task.quantile)

    environments = DummyVecEnv([environment] * _ENVIRONMENTS)
    progress = 0.0
    model = PPO(
        "MlpPolicy",
        environments,
        learning_rate=lambda _: _RATE * max(_LEAST_RATE, 1 - progress),
        n_steps=_STEPS,
        policy_kwargs={"net_arch": {"pi": _NET, "vf": _NET}},
        seed=task.seed,
        device="cpu",
        **_SETTINGS,
    )
    # The usual logger leaves a folder behind.
    model.set_logger(Logger(folder=None, output_formats=[]))
    number, before, ticks = 0, 0.0, 0
    observations: list[Array] = []
    if checkpoint is not None and checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        model.policy.load_state_dict(state["policy"])
        model.policy.optimizer.load_state_dict(state["optimiser"])
        observations = [state["observations"].numpy()]
        number, before = state["number"], state["seconds"]
    started = monotonic()
    while (progress := budget.progress(number * ROLLOUT, before + monotonic() - started)) < 1:
        model.set_random_seed((task.seed << 16) + number)
        model.learn(ROLLOUT)
        observations.append(model.rollout_buffer.observations.reshape(-1, len(FEATURES)).copy())
        number += 1
        used = budget.progress(number * ROLLOUT, before + monotonic() - started)
        while ticks < int(used * budget.ticks):
            ticks += 1
            advance()
        if checkpoint is not None:
            state = {
                "policy": model.policy.state_dict(),
                "optimiser": model.policy.optimizer.state_dict(),
                "observations": torch.from_numpy(np.concatenate(observations)),
                "number": number,
                "seconds": before + monotonic() - started,
            }
            buffer = BytesIO()
            torch.save(state, buffer)
            write_file(checkpoint, buffer.getvalue())
    environments.close()
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    everything = np.concatenate(observations)
    config = {"decisions": number * ROLLOUT, "minutes": budget.minutes}
    return Trained("ppo", *_layers(model), "Tanh", everything, _scores(model, everything), None, config)


def _layers(model: PPO) -> tuple[list[Layer], list[Layer]]:
    """The network that chooses, as a backbone and one head of one layer."""
    backbone = [layer for layer in model.policy.mlp_extractor.policy_net if isinstance(layer, nn.Linear)]
    last = _layer(cast(nn.Linear, model.policy.action_net))
    return [_layer(layer) for layer in backbone], [Layer(last.weight[None], last.bias[None, None])]


def _layer(linear: nn.Linear) -> Layer:
    return Layer(linear.weight.detach().numpy().T.copy(), linear.bias.detach().numpy())


def _scores(model: PPO, observations: Array) -> Array:
    """Probabilities of the points, (n, points)."""
    with torch.no_grad():
        distribution = model.policy.get_distribution(torch.from_numpy(observations))
        return cast(Array, distribution.distribution.probs.numpy())  # type: ignore[union-attr]
