from cutpoint.server.tail_curve import TailCurve


def run(curve: TailCurve, batches: int, seconds: dict[int, float]) -> list[int]:
    """Runs batches of the size that the curve asks for; `seconds` per sample by size. Returns the sizes."""
    sizes = []
    for _ in range(batches):
        size = curve.target()
        curve.observe(size, size * seconds[size])
        sizes.append(size)
    return sizes


def test_what_calibration_measured_counts_until_something_was_run() -> None:
    curve = TailCurve(0.004, 8)
    assert (curve.best, curve.target(), curve.each(1), curve.cost(8)) == (1, 1, 0.004, 0.032)
    curve.observe(1, 0.002)
    assert (curve.each(1), curve.each(4), curve.cost(4)) == (0.002, 0.002, 0.008)


def test_a_batch_costs_no_more_than_a_larger_one() -> None:
    curve = TailCurve(0.002, 8)
    for size in (1, 2, 4, 8):
        curve.observe(size, 0.002 + size * 0.00001)  # as on a GPU
    costs = [curve.cost(size) for size in range(1, 9)]
    assert costs == sorted(costs)
    assert costs[-1] < 1.05 * costs[0]


def test_sizes_are_tried_upwards_while_they_pay() -> None:
    # A call costs as much as forty samples, as on a machine with many cores or a GPU.
    curve = TailCurve(1.0, 16)
    sizes = run(curve, 300, {size: (1 + size / 40) / size for size in (1, 2, 4, 8, 16)})
    assert sizes[:5] == [1, 2, 4, 8, 16]
    assert sizes[-10:].count(16) >= 9


def test_samples_are_not_put_together_where_it_saves_nothing() -> None:
    curve = TailCurve(1.0, 16)
    sizes = run(curve, 60, dict.fromkeys((1, 2, 4, 8, 16), 1.0))
    assert sizes[:2] == [1, 2]
    assert set(sizes[5:]) == {1}


def test_company_at_most_doubles_the_time() -> None:
    # Eight would be cheapest per sample, but take six times as long as one.
    curve = TailCurve(1.0, 16)
    sizes = run(curve, 200, {1: 1.0, 2: 0.8, 4: 0.76, 8: 0.75, 16: 0.75})
    assert sizes.count(2) > 150
    assert sizes.count(8) == 0


def test_very_short_ones_may_be_as_many_as_take_two_milliseconds() -> None:
    curve = TailCurve(0.0002, 16)
    sizes = run(curve, 100, {size: 0.0001 + 0.0001 / size for size in (1, 2, 4, 8, 16)})
    assert sizes.count(16) > 80


def test_where_more_waits_a_batch_may_take_longer() -> None:
    # As above, but what waits takes minutes.
    seconds = {1: 1.0, 2: 0.8, 4: 0.7, 8: 0.6, 16: 0.55}
    curve = TailCurve(1.0, 16)
    run(curve, 100, seconds)
    assert (curve.target(), curve.target(patience=1.0)) == (2, 2)
    for _ in range(5):
        curve.observe(size := curve.target(patience=5.0), size * seconds[size])
    assert (curve.target(patience=3.0), curve.target(patience=5.0), curve.target()) == (4, 8, 2)
    assert curve.best == 2


def test_one_slow_batch_changes_little() -> None:
    curve = TailCurve(1.0, 2)
    run(curve, 20, {1: 1.0, 2: 0.5})
    assert curve.best == 2
    before = curve.each(2)
    curve.observe(2, 100.0)  # something else took the processor
    assert curve.each(2) < 1.35 * before
    run(curve, 20, {1: 1.0, 2: 0.5})
    assert curve.best == 2


def test_a_machine_that_changes_is_noticed() -> None:
    curve = TailCurve(1.0, 2)
    run(curve, 60, {1: 1.0, 2: 1.5})
    assert curve.best == 1
    run(curve, 64 * 40, {1: 1.0, 2: 0.5})
    assert curve.best == 2


def test_a_tail_that_takes_one_sample_gets_one() -> None:
    curve = TailCurve(1.0, 1)
    assert run(curve, 70, {1: 1.0}) == [1] * 70


def test_limit_between_two_powers() -> None:
    curve = TailCurve(1.0, 10)
    assert run(curve, 5, {1: 1.0, 2: 0.5, 4: 0.25, 8: 0.125}) == [1, 2, 4, 8, 8]
