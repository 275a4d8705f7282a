import pytest

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.report.data import (
    CutReport,
    ReportData,
    SearchReport,
    TrialReport,
    decode_report,
    encode_report,
)
from cutpoint.codecs import TensorSpec

DATA = ReportData(
    search=SearchReport("quick", 180.0, 97.5, 3, {"accuracy_drop": 0.01}),
    trials=(
        TrialReport("r1", 1, 1, "int8", "klt", "q2", "rung 1", 25, 0.5, 812.5, kept=True, point="cut1-int8-klt-q2"),
    ),
    cuts=(CutReport("r1", (TensorSpec("r1", (1, 8, 4, 4), "float32"),), 1000, 512, 0.4, natural_bottleneck=True),),
    losses={"1-bottleneck": "report/1-bottleneck.json"},
)


def test_it_survives_the_file() -> None:
    assert decode_report(encode_report(DATA)) == DATA


def test_less_and_more_than_is_known_are_read() -> None:
    assert decode_report(b'{"later": 1}') == ReportData()


@pytest.mark.parametrize("data", [b"", b"[]", b'{"trials": 3}', b'{"trials": [{"cut": "a"}]}'])
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(CalibrationError, match=r"report\.json"):
        decode_report(data)
