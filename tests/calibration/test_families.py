from cutpoint.calibration.settings import TRAINED
from cutpoint.calibration.training.families import BOTTLENECK, FAMILIES, SLIMMABLE
from cutpoint.codecs import SYMBOL_CODECS


def test_levels_of_one_width_are_qualities() -> None:
    assert BOTTLENECK.levels == ("q1", "q2", "q3", "q4", "q5", "q6")
    assert set(BOTTLENECK.level_widths) == {1.0}


def test_levels_go_by_width_then_by_quality() -> None:
    assert SLIMMABLE.levels[:4] == ("w25-q1", "w25-q2", "w25-q3", "w50-q1")
    assert SLIMMABLE.levels[-1] == "w100-q3"
    assert SLIMMABLE.level_widths == (0.25,) * 3 + (0.5,) * 3 + (0.75,) * 3 + (1.0,) * 3


def test_every_family_can_be_asked_for_and_run() -> None:
    assert tuple(FAMILIES) == TRAINED
    assert set(FAMILIES) <= set(SYMBOL_CODECS)
