import msgspec
import pytest
from tests.support.training import small_task

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.learning.task import TrainingTask
from cutpoint.sdk import AdaptivePolicy, Objective


def test_points_and_description() -> None:
    task = small_task(0.3, 0.8, 7)
    assert task.points == tuple(point.id for point in AdaptivePolicy.for_bundle(task.bundle, task.objective).points)
    described = task.describe()
    assert described["seed"] == 7
    assert described["quantile"] == 0.8
    assert described["device_scale"] == "100 to 500"
    msgspec.json.encode(described)


@pytest.mark.parametrize(
    "bad",
    [
        {"objective": Objective(cost=lambda forecast: forecast.latency_ms)},
        {"error": -0.1},
        {"quantile": 0.0},
        {"quantile": 1.0},
    ],
)
def test_tasks_that_make_no_sense(bad: dict[str, object]) -> None:
    with pytest.raises(CalibrationError):
        TrainingTask(small_task().bundle, **bad)  # type: ignore[arg-type]
