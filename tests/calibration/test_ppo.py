from pathlib import Path

import numpy as np
import pytest
from tests.support.training import small_task

from cutpoint.calibration.learning.ppo import ROLLOUT, train_ppo
from cutpoint.calibration.learning.task import finish
from cutpoint.calibration.training.loop import Budget
from cutpoint.sdk import AdaptivePolicy, LearnedPolicy
from cutpoint.sdk.runtimes import create_runtime


def test_file_holds_the_network_and_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    task = small_task(0.3, 0.8)
    ticks = []
    trained = train_ppo(task, Budget(ROLLOUT), advance=lambda: ticks.append(1))
    assert len(ticks) == ROLLOUT
    assert not list(tmp_path.glob("SB3-*"))
    data = finish(task, trained)
    (scores,) = create_runtime("onnx").load(data, {}).run((trained.observations,))
    np.testing.assert_allclose(scores, trained.scores, atol=1e-5)
    policy = LearnedPolicy(data, AdaptivePolicy.for_bundle(task.bundle, task.objective), task.bundle)
    assert policy.refusal is None
    assert all(policy.knows(row[None]) for row in trained.observations)


def test_interrupted_training_ends_as_it_would_have_and_the_seed_decides(tmp_path: Path) -> None:
    task, path, budget = small_task(), tmp_path / "checkpoint", Budget(2 * ROLLOUT)
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == ROLLOUT + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_ppo(task, budget, path, interrupt)
    assert path.is_file()
    resumed = finish(task, train_ppo(task, budget, path))
    assert not path.exists()
    assert resumed == finish(task, train_ppo(task, budget))
    other = small_task(seed=1)
    assert resumed != finish(other, train_ppo(other, Budget(ROLLOUT)))
