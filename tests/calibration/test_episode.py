import numpy as np
from tests.support.links import wandering_links
from tests.support.toy import toy_bundle

from cutpoint.calibration.learning.episode import Episode
from cutpoint.calibration.learning.worlds import Worlds, adaptive_users
from cutpoint.calibration.simulate.world import simulate_users
from cutpoint.sdk import Objective

BUNDLE = toy_bundle()
WORLDS = Worlds(wandering_links(), users=(3, 3), device_scale=(100, 500), server_scale=(100, 500), seconds=20)


def test_stopping_at_each_decision_changes_nothing() -> None:
    """Who decides as the policy would gets what the policy got."""
    scenarios, server = WORLDS.draw(BUNDLE, np.random.default_rng(0))
    whole = simulate_users(adaptive_users(BUNDLE, Objective(), scenarios), server).outcomes[0]
    learner, *others = adaptive_users(BUNDLE, Objective(), scenarios)
    episode = Episode(learner.scenario, learner.policy, learner.fallback, others, server)
    answered, dues = [], []
    while (decision := episode.next()) is not None:
        dues.append(decision.due)
        answered += episode.answered()
        episode.decide(learner.policy.choose(decision.conditions))
    answered += episode.answered()
    assert dues == learner.scenario.due().tolist()
    answered.sort(key=lambda outcome: outcome.at)
    assert [(o.latency_ms, o.point.id) for o in answered] == [(o.latency_ms, o.point.id) for o in whole]
