from hypothesis import given
from hypothesis import strategies as st

from cutpoint.calibration.device_part import MOST, heads_that_fit


def test_deep_heads_are_left_out_first() -> None:
    # MobileNetV2 in kilobytes, with a large encoder behind the last cut.
    heads = {1: 57, 2: 115, 3: 322, 4: 972, 5: 1709, 6: 2799, 7: 5348, 8: 8883, 9: 14_008}
    encoders = {1: 57, 2: 71, 3: 129, 4: 131, 5: 202, 6: 176, 7: 176, 8: 6415}
    assert heads_that_fit(heads, encoders, 9) == set(range(1, 8)) | {9}
    assert heads_that_fit(heads, {}, 9) == set(heads)


def test_the_uncut_model_is_always_there() -> None:
    assert heads_that_fit({1: 90, 2: 100}, {1: 100}, 2) == {2}


@given(
    st.dictionaries(st.integers(1, 20), st.integers(1, 1000), max_size=12),
    st.dictionaries(st.integers(0, 20), st.integers(0, 300)),
    st.integers(1, 2000),
)
def test_what_is_kept_fits(heads: dict[int, int], encoders: dict[int, int], whole: int) -> None:
    kept = heads_that_fit(heads | {21: whole}, encoders, 21)
    total = whole + sum(heads[end] + encoders.get(end, 0) for end in kept - {21})
    assert 21 in kept
    assert kept == {21} or total + encoders.get(0, 0) <= MOST * whole
