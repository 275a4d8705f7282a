from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.training import small_task

from cutpoint.calibration.learning.costs import injected
from cutpoint.calibration.learning.demonstrations import demonstrations
from cutpoint.calibration.learning.memtl import EnsembleNet, train_memtl
from cutpoint.calibration.learning.task import finish
from cutpoint.calibration.training.loop import Budget
from cutpoint.sdk import AdaptivePolicy, EnergyModel, LearnedPolicy
from cutpoint.sdk.observation import FEATURES
from cutpoint.sdk.runtimes import create_runtime

SHOWN = demonstrations(small_task(error=0.3), 400)


@pytest.mark.parametrize("quantile", [None, 0.8])
def test_training_lowers_the_regret_and_the_file_holds_the_network(quantile: float | None) -> None:
    task = small_task(0.3 if quantile else 0.0, quantile)
    before = train_memtl(task, SHOWN, Budget(1))
    after = train_memtl(task, SHOWN, Budget(300))
    costs = injected(SHOWN.taken, task.objective, EnergyModel(), 0.0, np.random.default_rng(0), 1)[0]
    rows = np.arange(len(costs))

    def regret(scores: np.ndarray) -> float:
        chosen = costs[rows, scores[: len(rows)].argmax(axis=1)]
        return float(((chosen - costs.min(axis=1)) / SHOWN.units[:, 0]).mean())

    fixed = ((costs - costs.min(axis=1, keepdims=True)) / SHOWN.units).mean(axis=0)
    assert regret(after.scores) < regret(before.scores)
    assert regret(after.scores) < 0.7 * fixed.min()

    data = finish(task, after)
    graph = create_runtime("onnx").load(data, {})
    scores, disagreement = graph.run((after.observations.astype(np.float32),))
    np.testing.assert_allclose(scores, after.scores, atol=1e-5)
    np.testing.assert_allclose(disagreement, after.disagreement, atol=1e-5)
    policy = LearnedPolicy(data, AdaptivePolicy.for_bundle(task.bundle, task.objective), task.bundle)
    assert policy.refusal is None
    assert policy.card is not None
    assert policy.card.training["quantile"] == quantile
    known = np.mean([policy.knows(row[None]) for row in SHOWN.observations])
    assert known == 1


def test_same_seed_same_file_and_another_seed_another() -> None:
    def file(seed: int) -> bytes:
        task = small_task(0.3, 0.8, seed)
        return finish(task, train_memtl(task, demonstrations(task, 60), Budget(20)))

    assert file(1) == file(1)
    assert file(1) != file(2)


def test_interrupted_training_ends_as_it_would_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutpoint.calibration.training.loop._EVERY_S", 0.0)
    task, path = small_task(), tmp_path / "checkpoint"
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_memtl(task, SHOWN, Budget(30), path, interrupt)
    assert path.is_file()
    resumed = train_memtl(task, SHOWN, Budget(30), path)
    assert not path.exists()
    assert finish(task, resumed) == finish(task, train_memtl(task, SHOWN, Budget(30)))


def test_heads_differ_where_nothing_was_shown() -> None:
    trained = train_memtl(small_task(), SHOWN, Budget(200))
    net = EnsembleNet(len(small_task().points))
    backbone, heads = trained.backbone, trained.heads
    net.backbone.weight.data = torch.from_numpy(backbone[0].weight.T.copy())
    net.backbone.bias.data = torch.from_numpy(backbone[0].bias)
    for parameter, values in zip(net.heads, (part for layer in heads for part in layer), strict=True):
        parameter.data = torch.from_numpy(values)
    scores, usual = net.judge(SHOWN.observations)
    np.testing.assert_allclose(scores, trained.scores[: len(scores)], atol=1e-6)
    strange = np.random.default_rng(0).uniform(-3, 3, (500, len(FEATURES))).astype(np.float32)
    _, there = net.judge(strange)
    assert there.mean() > usual.mean()
