"""Policies that are trained for a case, and what they cost in worlds that they have never seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from cutpoint.calibration.learning.costs import alone_cost, outcome_cost
from cutpoint.calibration.learning.demonstrations import demonstrations
from cutpoint.calibration.learning.memtl import train_memtl
from cutpoint.calibration.learning.mistakes import MistakenPolicy
from cutpoint.calibration.learning.ppo import train_ppo
from cutpoint.calibration.learning.task import TrainingTask, finish
from cutpoint.calibration.learning.worlds import Worlds, adaptive_users
from cutpoint.calibration.simulate import Outcome, Scenario, ServerScenario, User, simulate_users
from cutpoint.calibration.training.loop import Budget
from cutpoint.calibration.work import digest
from cutpoint.codecs import Array
from cutpoint.sdk import AdaptivePolicy, Bundle, Conditions, LearnedPolicy, Objective, Plan, Policy
from cutpoint.sdk.files import write_file

__all__ = [
    "ERROR",
    "TRIED",
    "Case",
    "Make",
    "Unhedged",
    "analytic",
    "drawn",
    "learned",
    "relative",
    "simulated",
    "trained",
]

#: By which estimates are off, where they are.
ERROR = 0.3
#: Decisions that PPO tries.
TRIED = 16 * 1024
_FOLDER = Path(__file__).parents[2] / "bench" / "policies"
_DEMONSTRATED, _STEPS = 8000, 3000
#: Users of a world in which PPO tries; more of them take longer to simulate, and it needs many worlds.
_TRIED_AMONG = (1, 6)

#: What makes a user's policy of the analytic one.
Make = Callable[[User], Policy]


class Case(NamedTuple):
    """What policies are trained for, and compared in.

    Attributes:
        bundle: with the points.
        objective: what is wanted.
        trained: worlds of the training.
        unseen: other ones.
    """

    bundle: Bundle
    objective: Objective
    trained: Worlds
    unseen: Worlds


def trained(case: Case, algorithm: str, quantile: float | None = None, tried: int = TRIED) -> bytes:
    """A policy file: from the folder, or trained now.

    Args:
        case: what for.
        algorithm: ``memtl`` or ``ppo``.
        quantile: of the costs over injected errors that counts; None for a point estimate.
        tried: decisions of ``ppo``.
    """
    error = 0.0 if quantile is None else ERROR
    memtl = algorithm == "memtl"
    fewest, most = case.trained.users
    worlds = case.trained if memtl else replace(case.trained, users=(fewest, min(most, _TRIED_AMONG[1])))
    task = TrainingTask(case.bundle, case.objective, worlds, error, quantile)
    length = f"{_DEMONSTRATED} {_STEPS}" if memtl else f"{tried}"
    key = digest(case.bundle.hash, repr(case.objective), repr(worlds), f"{algorithm} {error} {quantile} {length}")
    path = _FOLDER / f"{algorithm}{'-robust' if quantile else ''}-{key[:8]}.onnx"
    if not path.exists():
        started = time.monotonic()
        if memtl:
            result = train_memtl(task, demonstrations(task, _DEMONSTRATED), Budget(_STEPS))
        else:
            result = train_ppo(task, Budget(tried), path.with_suffix(".checkpoint"))
        write_file(path, finish(task, result))
        print(f"{path.name}: trained in {time.monotonic() - started:.0f} s", flush=True)
    return path.read_bytes()


def drawn(case: Case, users: int, seed: int) -> tuple[list[Scenario], ServerScenario]:
    """Users of an unseen world, and their server."""
    return replace(case.unseen, users=(users, users)).draw(case.bundle, np.random.default_rng((users, seed)))


def simulated(
    case: Case, make: Make, users: int, seed: int, error: float = 0.0
) -> tuple[list[User], list[list[Outcome]]]:
    """What comes of a policy that all users have in an unseen world: users with the analytic one, and outcomes."""
    scenarios, server = drawn(case, users, seed)
    usual = adaptive_users(case.bundle, case.objective, scenarios)
    asked = []
    for number, user in enumerate(usual):
        policy = make(user)
        if error:
            policy = MistakenPolicy(policy, error, np.random.default_rng((seed, number)))
        asked.append(User(user.scenario, policy, user.fallback))
    return usual, simulate_users(asked, server).outcomes


def relative(case: Case, users: Sequence[User], outcomes: Sequence[Sequence[Outcome]]) -> Array:
    """Costs of all answers in units of what the device alone would cost, (answers,)."""
    uncut = case.bundle.manifest.task.uncut
    costs = []
    for user, answers in zip(users, outcomes, strict=True):
        assert isinstance(user.policy, AdaptivePolicy)
        unit = alone_cost(user.policy, user.scenario.device_scale)
        costs += [outcome_cost(each, case.objective, user.scenario.energy, uncut) / unit for each in answers]
    return np.array(costs)


def analytic(user: User) -> Policy:
    """The analytic policy."""
    return user.policy


def learned(data: bytes, bundle: Bundle) -> Make:
    """A trained one."""

    def make(user: User) -> Policy:
        assert isinstance(user.policy, AdaptivePolicy)
        policy = LearnedPolicy(data, user.policy, bundle)
        assert policy.refusal is None, policy.refusal
        return policy

    return make


class Unhedged:
    """The same points, without the device's second answer."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def choose(self, conditions: Conditions) -> Plan:
        return msgspec.structs.replace(self._policy.choose(conditions), hedge_ms=None)
