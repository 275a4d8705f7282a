import pytest

from cutpoint.server.tail_curve import TailCurve


def run(curve: TailCurve, batches: int, seconds: dict[int, float]) -> list[int]:
    """Runs batches of the size that the curve asks for; `seconds` per sample by size. Returns the sizes."""
    sizes = []
    for _ in range(batches):
        size = curve.target
        curve.observe(size, size * seconds[size])
        sizes.append(size)
    return sizes


def test_what_calibration_measured_counts_until_something_was_run() -> None:
    curve = TailCurve(0.004, 8)
    assert (curve.best, curve.target, curve.each(1), curve.cost(8)) == (1, 1, 0.004, 0.032)
    curve.observe(1, 0.002)
    assert (curve.each(1), curve.each(4), curve.cost(4)) == (0.002, 0.002, 0.008)


def test_sizes_are_tried_upwards_while_they_pay() -> None:
    curve = TailCurve(1.0, 16)
    sizes = run(curve, 40, {1: 1.0, 2: 0.7, 4: 0.5, 8: 0.4, 16: 0.39})
    assert sizes[:5] == [1, 2, 4, 8, 16]
    # Sixteen gain less than five per cent on eight: not worth the wait.
    assert set(sizes[5:]) == {8}
    assert curve.each(11) == pytest.approx(0.4)


def test_samples_are_not_put_together_where_it_saves_nothing() -> None:
    curve = TailCurve(1.0, 16)
    sizes = run(curve, 60, {1: 1.0, 2: 1.0, 4: 1.05, 8: 1.3, 16: 2.0})
    assert sizes[:4] == [1, 2, 4, 8]
    assert set(sizes[4:]) == {1}


def test_a_misleading_first_sample_is_corrected() -> None:
    curve = TailCurve(1.0, 2)
    curve.observe(1, 1.0)
    curve.observe(2, 20.0)  # something else took the processor
    assert curve.best == 1
    run(curve, 64 * 40, {1: 1.0, 2: 0.5})
    assert curve.best == 2


def test_a_tail_that_takes_one_sample_gets_one() -> None:
    curve = TailCurve(1.0, 1)
    assert run(curve, 70, {1: 1.0}) == [1] * 70


def test_limit_between_two_powers() -> None:
    curve = TailCurve(1.0, 10)
    assert run(curve, 5, {1: 1.0, 2: 0.5, 4: 0.3, 8: 0.2}) == [1, 2, 4, 8, 8]
