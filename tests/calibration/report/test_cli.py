import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.reports import reported_bundle
from tests.support.toy import toy_bundle

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.report.cli import compare_command, report_command
from cutpoint.codecs.errors import CutpointError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "toy.cutpoint"
    reported_bundle().save(path)
    return path


def test_a_page_and_a_table(bundle: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "report.html"
    done = CliRunner().invoke(report_command, [str(bundle), "--out", str(page)], catch_exceptions=False)
    assert "Fastest by uplink rate" in done.output
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_json_has_everything_and_the_fastest_points(bundle: Path) -> None:
    arguments = [str(bundle), "--json", "--device-scale", "800"]
    told = json.loads(CliRunner().invoke(report_command, arguments, catch_exceptions=False).output)
    assert told["trials"][0]["reason"] == "loses 8 points"
    assert [part["point"] for part in told["fastest"]][-1] == "cut2-fp32"
    assert len(told["points"]) == 7


def test_comparison(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    toy_bundle("other").save(other)
    page = tmp_path / "compare.html"
    arguments = [str(bundle), str(other), "--out", str(page)]
    assert "Fewest bytes" in CliRunner().invoke(compare_command, arguments, catch_exceptions=False).output
    assert page.exists()
    told = json.loads(CliRunner().invoke(compare_command, [*arguments, "--json"], catch_exceptions=False).output)
    assert (told["a"]["name"], told["b"]["name"], told["equal"][0]["ratio"]) == ("toy", "other", 1.0)


def test_what_cannot_be(bundle: Path, tmp_path: Path) -> None:
    def fails(*arguments: str) -> BaseException | None:
        return CliRunner().invoke(report_command, arguments).exception

    assert isinstance(fails(str(tmp_path / "none.cutpoint")), CutpointError)
    assert isinstance(fails(str(bundle), "--rtt", "-1"), CutpointError)
    assert isinstance(fails(str(bundle), "--open", "yes"), CutpointError)
    (tmp_path / "file").write_bytes(b"")
    assert isinstance(fails(str(bundle), "--out", str(tmp_path / "file" / "page.html")), CalibrationError)
