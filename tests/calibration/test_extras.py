import pytest

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.extras import missing, require


def test_what_is_missing_is_named_with_the_remedy() -> None:
    assert missing(["numpy", "no_such_package"]) == ("no_such_package",)
    require(["numpy"], "counting")
    with pytest.raises(CalibrationError, match=r"counting needs no_such_package.*pip install 'cutpoint\[calibrate\]'"):
        require(["no_such_package"], "counting")
