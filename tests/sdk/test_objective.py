import pytest

from cutpoint.sdk import InputError, Objective
from cutpoint.sdk.objective import PRESETS


def test_presets_are_there_and_can_be_changed() -> None:
    assert set(PRESETS) == {"latency", "energy", "balanced", "accuracy"}
    assert Objective.preset("latency") == Objective()
    changed = Objective.preset("energy", deadline=0.3)
    assert changed.deadline == 0.3
    assert changed.energy_weight == PRESETS["energy"].energy_weight


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("speed", {}, "'speed' is not one of latency, energy, balanced, accuracy"),
        ("latency", {"dead_line": 1}, "dead_line"),
        ("latency", {"deadline": 0}, "deadline 0 s"),
    ],
)
def test_unknown_presets_and_fields_are_named(name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Objective.preset(name, **changes)


@pytest.mark.parametrize(
    "values",
    [
        {"deadline": -1.0},
        {"accuracy_drop": 1.5},
        {"accuracy_floor": -0.1},
        {"patience": 0.5},
        {"energy_weight": -1.0},
        {"hedge_price": -0.1},
        {"hysteresis": -0.1},
        {"hedge_share": 1.1},
        {"latency_weight": 0.0},
    ],
)
def test_values_that_make_no_sense(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(values)) if values != {"latency_weight": 0.0} else "every weight"):
        Objective(**values)  # type: ignore[arg-type]


def test_floor() -> None:
    assert Objective(accuracy_drop=0.02).floor(0.9) == pytest.approx(0.88)
    assert Objective(accuracy_floor=0.5).floor(0.9) == 0.5
