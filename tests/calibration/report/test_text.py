from rich.console import Console
from tests.support.reports import reported_bundle
from tests.support.toy import toy_bundle

from cutpoint.calibration.report import best_stretches, compare_views, make_view
from cutpoint.calibration.report.text import comparison_text, rate_text, report_text


def text_of(shown: object) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(shown)
        return console.export_text()


def test_front_switching_points_and_reasons() -> None:
    bundle = reported_bundle()
    view = make_view(bundle)
    text = text_of(report_text(view, best_stretches(bundle.points, 12, 0.01, 700), "device ×700"))
    assert "cut1-fp32-affine-coarse" in text
    assert "loses 8 points" in text
    assert "device ×700" in text
    assert "Mbit/s" in text or "kbit/s" in text


def test_comparison() -> None:
    view = make_view(toy_bundle())
    assert "1.00" in text_of(comparison_text(compare_views(view, view)))


def test_rates() -> None:
    assert [rate_text(rate) for rate in (12_345, 4e6)] == ["12.3 kbit/s", "4 Mbit/s"]
