"""The pages in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import open_browser
from tests.support.reports import reported_bundle
from tests.support.toy import toy_bundle

from cutpoint.calibration.report import best_stretches, compare_page, compare_views, make_view, report_page
from cutpoint.sdk import Channel, Conditions, EnergyModel
from cutpoint.sdk.energy import RADIOS
from cutpoint.sdk.predictor import Predictor

BUNDLE = reported_bundle()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def show(browser: Any, folder: Path, page: str) -> None:
    """Opens a page, and fails on an error in the console or on any request but that for the page itself."""
    file = folder / "page.html"
    file.write_text(page, "utf-8")
    browser.get_log("performance")
    browser.get(file.as_uri())
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    # The browser's own first page may still be loading.
    asked = {each["request"]["url"] for each in requests if not each["documentURL"].startswith("chrome://")}
    assert {url for url in asked if not url.startswith("data:")} == {file.as_uri()}


def count(browser: Any, selector: str) -> int:
    return int(browser.execute_script("return document.querySelectorAll(arguments[0]).length", selector))


def enter(browser: Any, field: str, value: object) -> None:
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : 'input'))",
        field,
        str(value),
    )


def test_every_plot_has_its_marks(browser: Any, tmp_path: Path) -> None:
    show(browser, tmp_path, report_page(make_view(BUNDLE)))
    assert count(browser, "#accuracy .mark") == sum(not point.local for point in BUNDLE.points)
    assert count(browser, "#cuts .cut") == 2
    assert count(browser, "#energy .mark") > 0
    assert count(browser, "#latency .stretch") > 0
    assert count(browser, ".loss") == 1
    assert count(browser, "#points tbody tr") == len(BUNDLE.points)
    assert "loses 8 points" in browser.find_element("id", "trials").text
    # Nothing lies outside of its plot or nowhere.
    shapes = browser.execute_script(
        "return [...document.querySelectorAll('svg path, svg polyline, svg rect')].map(e => e.outerHTML)"
    )
    assert not [shape for shape in shapes if "NaN" in shape or "Infinity" in shape]


def test_filters_take_points_away_and_bring_them_back(browser: Any, tmp_path: Path) -> None:
    show(browser, tmp_path, report_page(make_view(BUNDLE)))
    everything = count(browser, "#points tbody tr")
    for group, value in (("codec", "jpeg"), ("cut", "picture"), ("precision", "fp32")):
        chip = browser.find_element("css selector", f'[data-filter="{group}:{value}"]')
        chip.click()
        left = count(browser, "#points tbody tr")
        assert left < everything
        if group == "codec":
            assert count(browser, '#accuracy [data-point="cut0-jpeg-q90"]') == 0
        chip.click()
        assert count(browser, "#points tbody tr") == everything
    assert browser.get_log("browser") == []


def test_costs_and_switching_points_are_those_of_the_policy(browser: Any, tmp_path: Path) -> None:
    view = make_view(BUNDLE)
    show(browser, tmp_path, report_page(view))
    for rate, rtt, scale, radio in ((3e5, 0.08, 700.0, "3g"), (2e7, 0.01, 1.0, "wifi")):
        enter(browser, "device", 0)
        for field, value in (("scale", scale), ("rtt", rtt * 1e3), ("radio", radio), ("drop", 1)):
            enter(browser, field, value)
        points = sorted(BUNDLE.points, key=lambda point: not point.local)
        channel = Channel(rate, rtt + view.overhead_ms / 1e3, downlink=view.downlink * rate)
        conditions = Conditions(channel, device_scale=scale)
        model = EnergyModel(RADIOS[radio])
        predicted = Predictor(points, model, view.answer_bytes).predict(conditions)
        script = "return DATA.points.map(p => [p.id, [latency(p, arguments[0]), energy(p, arguments[0])]])"
        found = dict(browser.execute_script(script, rate))
        for number, point in enumerate(points):
            ms, mj = float(predicted.latency_ms[3, number]), float(predicted.energy_mj[number])
            assert found[point.id] == pytest.approx([ms, mj], rel=1e-6), point.id
        accurate = [point for point in BUNDLE.points if point.measured.metric >= view.uncut - 0.01]
        wanted = best_stretches(accurate, view.answer_bytes, rtt, scale)
        script = "return stretches(accurate()).map(s => [s.point.id, s.low])"
        assert [s.point.id for s in wanted] == [name for name, _ in browser.execute_script(script)]
        assert [s.low for s in wanted] == pytest.approx([low for _, low in browser.execute_script(script)], rel=1e-6)
        assert count(browser, "#latency [data-switch]") == len(wanted) - 1


def test_hovering_tells_about_a_mark_and_the_theme_changes(browser: Any, tmp_path: Path) -> None:
    show(browser, tmp_path, report_page(make_view(BUNDLE)))
    mark = browser.find_element("css selector", '#accuracy [data-point="cut0-jpeg-q90"]')
    browser.execute_script("arguments[0].dispatchEvent(new PointerEvent('pointerenter'))", mark)
    told = browser.find_element("id", "tip").text
    assert "cut0-jpeg-q90" in told
    assert "98.0 %" in told
    ground = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(ground)
    browser.find_element("id", "theme").click()
    assert browser.execute_script(ground) != before


def test_a_bundle_without_a_report(browser: Any, tmp_path: Path) -> None:
    show(browser, tmp_path, report_page(make_view(toy_bundle())))
    assert count(browser, "#trials") == 0
    assert count(browser, "#cuts .cut") == 1


def test_two_bundles_in_one_page(browser: Any, tmp_path: Path) -> None:
    view = make_view(BUNDLE)
    show(browser, tmp_path, compare_page(compare_views(view, make_view(toy_bundle("other")))))
    sent = sum(not point.local for point in BUNDLE.points)
    assert count(browser, '#accuracy [data-bundle="A"]') == count(browser, '#accuracy [data-bundle="B"]') == sent
    assert count(browser, "#equal tbody tr") == 6


def test_names_are_data_and_never_markup(browser: Any, tmp_path: Path) -> None:
    name = '</script><script>document.title = "broken"</script><img src=x onerror=alert(1)>'
    show(browser, tmp_path, report_page(make_view(toy_bundle(name))))
    assert browser.find_element("tag name", "h1").text == name
    assert count(browser, "img") == 0
