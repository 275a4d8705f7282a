import numpy as np
from tests.support.training import small_task

from cutpoint.calibration.learning.demonstrations import demonstrations
from cutpoint.sdk.observation import FEATURES


def test_shapes_and_that_the_seed_decides() -> None:
    task = small_task(error=0.3)
    ticks = []
    shown = demonstrations(task, 50, lambda: ticks.append(1))
    assert len(ticks) == 50
    assert shown.observations.shape == shown.wrong.shape == (50, len(FEATURES))
    assert shown.units.shape == (50, 1)
    assert {part.shape for part in shown.taken} == {(50, len(task.points))}
    again = demonstrations(task, 50)
    for one, other in zip((*shown[:2], *shown.taken), (*again[:2], *again.taken), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(demonstrations(small_task(error=0.3, seed=1), 50).units, shown.units)


def test_what_is_believed_wrongly_is_off_where_the_error_is() -> None:
    shown = demonstrations(small_task(error=0.3), 300)
    away = (shown.wrong - shown.observations).std(axis=0)
    off = {name for name, value in zip(FEATURES, away.tolist(), strict=True) if value > 0}
    assert off == {"uplink", "rtt", "device_scale", "server_scale"}
    right = demonstrations(small_task(), 50)
    np.testing.assert_array_equal(right.wrong, right.observations)
