import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from cutpoint.calibration.exits.thresholds import GRID, choose_threshold, least_drop, samples_needed

UNITS = st.floats(0, 1)


@given(
    st.lists(st.tuples(UNITS, st.booleans()), min_size=1, max_size=400), st.floats(0.005, 0.5), st.floats(0.5, 0.999)
)
def test_what_is_chosen_keeps_the_clopper_pearson_bound(
    samples: list[tuple[float, bool]], drop: float, certainty: float
) -> None:
    confidence, spoilt = np.array([c for c, _ in samples]), np.array([s for _, s in samples])
    chosen = choose_threshold(confidence, spoilt, drop, certainty)
    if chosen is None:
        return
    count = len(samples)
    answered = confidence >= chosen.confidence
    assert chosen.rate == pytest.approx(answered.mean())
    errors = int(spoilt[answered].sum())
    assert chosen.spoilt == pytest.approx(errors / count)
    assert beta.ppf(certainty, errors + 1, count - errors) <= drop + 1e-9
    # Nothing below was skipped: the next threshold of the grid, if there is one, breaks the bound.
    lower = GRID[chosen.confidence > GRID]
    if len(lower):
        errors = int(spoilt[confidence >= lower[0]].sum())
        assert errors == count or beta.ppf(certainty, errors + 1, count - errors) > drop - 1e-9


@pytest.mark.parametrize("count", [300, 1000])
def test_the_promise_holds_on_inputs_that_nobody_has_seen(count: int) -> None:
    """Over many held-out sets, the share of broken promises is at most what was allowed."""
    rng = np.random.default_rng(5)
    drop, certainty, runs = 0.02, 0.9, 400
    broken = accepted = 0
    for _ in range(runs):
        confidence = rng.uniform(size=count)
        spoilt = rng.uniform(size=count) < 0.2 * (1 - confidence)
        chosen = choose_threshold(confidence, spoilt, drop, certainty)
        if chosen is not None:
            accepted += 1
            # ∫ 0.2 (1 - c) dc from the threshold to 1.
            broken += 0.1 * (1 - chosen.confidence) ** 2 > drop
    assert accepted > 0.9 * runs
    allowed = runs * (1 - certainty)
    assert broken <= allowed + 3 * np.sqrt(allowed)


def test_an_exit_that_is_never_wrong_answers_everything() -> None:
    chosen = choose_threshold(np.full(1000, 0.7), np.zeros(1000, bool), 0.01, 0.95)
    assert chosen is not None
    assert (chosen.rate, chosen.spoilt) == (1.0, 0.0)


def test_an_exit_that_is_always_wrong_answers_nothing() -> None:
    assert choose_threshold(np.full(1000, 0.7), np.ones(1000, bool), 0.01, 0.95) is None


def test_how_many_inputs_a_promise_takes() -> None:
    needed = samples_needed(0.01, 0.95)
    assert needed == 299
    fine = np.zeros(needed, bool)
    assert choose_threshold(np.full(needed, 0.9), fine, 0.01, 0.95) is not None
    assert choose_threshold(np.full(needed - 1, 0.9), fine[1:], 0.01, 0.95) is None
    assert least_drop(needed, 0.95) <= 0.01 < least_drop(needed - 1, 0.95)
