from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from cutpoint.calibration.slices import Rows, Window, even_rows
from cutpoint.calibration.slices.rows import balanced_rows, hull, tapered_rows


@given(st.integers(1, 40), st.integers(1, 12))
def test_even_rows_cover_the_height_in_order_and_are_even(height: int, count: int) -> None:
    slices = even_rows(height, count)
    assert [row for rows in slices for row in range(rows.start, rows.stop)] == list(range(height))
    assert len(slices) == min(count, height)
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


@given(st.integers(1, 40), st.integers(1, 6))
def test_tapered_rows_cover_the_height_and_end_in_the_smallest(height: int, count: int) -> None:
    slices = tapered_rows(height, count)
    assert [row for rows in slices for row in range(rows.start, rows.stop)] == list(range(height))
    assert len(slices) <= count
    assert [len(rows) for rows in tapered_rows(14, 3)] == [8, 4, 2]


def _partitions(height: int, count: int) -> list[tuple[Rows, ...]]:
    """All ways of cutting `height` rows into `count` slices."""
    found = []
    for inner in combinations(range(1, height), count - 1):
        found.append(tuple(Rows(*pair) for pair in pairwise((0, *inner, height))))
    return found


@given(st.integers(4, 10), st.lists(st.floats(0.2, 3), min_size=1, max_size=4), st.integers(0, 3))
def test_no_other_slices_take_less_time_than_balanced_ones(height: int, speeds: list[float], halo: int) -> None:
    def macs(rows: Rows) -> int:
        return 100 * (len(rows) + halo)

    def longest(slices: tuple[Rows, ...]) -> float:
        return max(macs(rows) / speed for rows, speed in zip(slices, speeds, strict=True))

    found = balanced_rows(height, speeds, macs)
    others = _partitions(height, len(speeds))
    assert found in others
    assert longest(found) <= min(map(longest, others)) * (1 + 1e-6)


windows = st.builds(
    Window, size=st.integers(1, 9), stride=st.integers(1, 4), before=st.integers(0, 8), factor=st.integers(1, 3)
)


@given(windows, st.integers(0, 20), st.integers(1, 10))
def test_the_needs_of_rows_are_the_needs_of_each_of_them(window: Window, start: int, count: int) -> None:
    rows = Rows(start, start + count)
    single = [window.needs(Rows(row, row + 1)) for row in range(rows.start, rows.stop)]
    assert window.needs(rows) == hull(single)
    assert {len(needs) for needs in single} == {window.size}


def test_the_needs_of_a_strided_convolution() -> None:
    window = Window(size=3, stride=2, before=1)
    assert window.needs(Rows(0, 2)) == Rows(-1, 4)
    assert window.needs(Rows(3, 4)) == Rows(5, 8)
    assert window.needs(Rows(0, 2)).within(3) == Rows(0, 3)


def test_repeated_rows_come_whole() -> None:
    window = Window(factor=2)
    assert window.needs(Rows(3, 6)) == Rows(1, 3)
    assert window.gives(Rows(3, 6)) == Rows(2, 6)
