from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from tests.support.links import wandering_links
from tests.support.toy import toy_bundle

from cutpoint.calibration.learning.environment import ENVIRONMENT, SplitInferenceEnv
from cutpoint.calibration.learning.worlds import Worlds
from cutpoint.sdk import AdaptivePolicy, InputError, Objective

BUNDLE = toy_bundle()
BALANCED = Objective.preset("balanced")
# The toy takes a fraction of a millisecond: devices and servers are slow.
SLOW = {"device_scale": (100.0, 500.0), "server_scale": (1.0, 500.0), "seconds": 12.0}
WORLDS = Worlds(wandering_links(), **SLOW)  # type: ignore[arg-type]
SHARED = Worlds(wandering_links(), users=(2, 4), **SLOW)  # type: ignore[arg-type]


def rollout(env: SplitInferenceEnv, seed: int, action: int | None = None) -> list[tuple[np.ndarray, float]]:
    rng = np.random.default_rng(seed)
    steps = []
    observation, info = env.reset(seed=seed)
    while True:
        assert info["action_mask"].shape == (env.action_space.n,)
        chosen = rng.integers(env.action_space.n) if action is None else action
        observation, reward, terminated, truncated, info = env.step(np.int64(chosen))
        steps.append((observation, reward))
        assert not truncated
        if terminated:
            return steps


@pytest.mark.parametrize("options", [{}, {"error": 0.3, "quantile": 0.9}])
@pytest.mark.parametrize("worlds", [WORLDS, SHARED])
def test_gymnasium_finds_no_fault(worlds: Worlds, options: dict[str, float], tmp_path: Path) -> None:
    path = tmp_path / "toy.cutpoint"
    BUNDLE.save(path)
    env = gymnasium.make(ENVIRONMENT, bundle=path, worlds=worlds, **options)
    check_env(env.unwrapped, skip_render_check=True)
    vector = gymnasium.make_vec(ENVIRONMENT, 3, "sync", bundle=path, worlds=worlds, **options)
    observations, _ = vector.reset(seed=1)
    assert observations.shape == (3, *env.observation_space.shape)  # type: ignore[misc]
    assert len(np.unique(observations, axis=0)) == 3
    vector.step(vector.action_space.sample())
    vector.close()


@pytest.mark.parametrize("options", [{}, {"error": 0.3, "quantile": 0.9}])
def test_same_seed_same_world_and_another_seed_another(options: dict[str, float]) -> None:
    env = SplitInferenceEnv(BUNDLE, BALANCED, SHARED, **options)  # type: ignore[arg-type]
    first, again, other = rollout(env, 1), rollout(env, 1), rollout(env, 2)
    assert [reward for _, reward in first] == [reward for _, reward in again]
    np.testing.assert_array_equal([seen for seen, _ in first], [seen for seen, _ in again])
    assert [reward for _, reward in first] != [reward for _, reward in other]


def test_the_device_alone_on_an_idle_device_costs_one() -> None:
    env = SplitInferenceEnv(BUNDLE, BALANCED, Worlds(wandering_links(), device_scale=(5, 5), seconds=12))
    assert env.points[0].local
    rewards = [reward for _, reward in rollout(env, 0, action=0)]
    assert rewards == pytest.approx([-1.0] * len(rewards), abs=0.01)


def test_a_request_is_paid_for_once() -> None:
    env = SplitInferenceEnv(BUNDLE, BALANCED, WORLDS)
    mine = sum(reward for _, reward in rollout(env, 5, action=1))
    alone = sum(reward for _, reward in rollout(env, 5, action=0))
    assert mine != pytest.approx(alone, rel=0.01)
    assert env._prices == {}


def test_risk_costs_more_and_errors_are_seen() -> None:
    plain = rollout(SplitInferenceEnv(BUNDLE, BALANCED, WORLDS), 3, action=1)
    wrong = rollout(SplitInferenceEnv(BUNDLE, BALANCED, WORLDS, error=0.3), 3, action=1)
    risky = rollout(SplitInferenceEnv(BUNDLE, BALANCED, WORLDS, error=0.3, quantile=0.95), 3, action=1)
    assert not np.array_equal([seen for seen, _ in plain], [seen for seen, _ in wrong])
    assert sum(reward for _, reward in risky) < sum(reward for _, reward in wrong)


def test_a_late_answer_costs_what_the_objective_says() -> None:
    worlds = Worlds(wandering_links(), device_scale=(10, 10), seconds=12)
    alone_ms = 10 * min(point.measured.device_ms for point in BUNDLE.points if point.local)
    rewards = {}
    for deadline in (0.5 * alone_ms, 2 * alone_ms):
        objective = Objective(deadline=deadline / 1e3, late_cost=9 * alone_ms)
        env = SplitInferenceEnv(BUNDLE, objective, worlds)
        rewards[deadline] = [reward for _, reward in rollout(env, 0, action=0)]
    late, timely = rewards.values()
    assert late == pytest.approx([-1.0] * len(late), abs=0.01)
    assert timely == pytest.approx([-0.1] * len(timely), abs=0.01)


def test_points_are_those_of_the_analytic_policy() -> None:
    assert SplitInferenceEnv(BUNDLE, BALANCED).points == AdaptivePolicy.for_bundle(BUNDLE, BALANCED).points


@pytest.mark.parametrize(
    "bad", [{"error": -1}, {"quantile": 1.0}, {"objective": Objective(cost=lambda forecast: forecast.latency_ms)}]
)
def test_arguments_that_make_no_sense(bad: dict[str, object]) -> None:
    with pytest.raises(InputError):
        SplitInferenceEnv(BUNDLE, **bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad", [{"users": (0, 1)}, {"users": (3, 2)}, {"server_scale": (0, 1)}, {"seconds": 0}, {"device_scale": (2, 1)}]
)
def test_worlds_that_make_no_sense(bad: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Worlds(**bad)  # type: ignore[arg-type]
