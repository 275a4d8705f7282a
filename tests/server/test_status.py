"""The status page, in a browser, and the numbers behind it."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from selenium import webdriver
from selenium.webdriver.common.by import By
from tests.support.toy import picture

from cutpoint.sdk import Bundle, Client
from cutpoint.sdk.testing import ServerProcess
from cutpoint.server import EdgeServer
from cutpoint.server.status import Activity, Answered, quantiles

from .conftest import QUICK

POINT = "cut1-fp32-affine-fine"
TOKEN = "a-token-for-the-page"


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from("abc"), st.booleans()), max_size=60), st.integers(1, 30))
def test_activity_is_about_the_last_seconds(steps: list[tuple[float, str, bool]], most: int) -> None:
    activity = Activity(seconds=10.0, most=most)
    now, all_of_them = 0.0, []
    for pause, user, good in steps:
        now += pause
        one = Answered(now, user, "p", "ok" if good else "overloaded", 100, 5.0, *((1.0, 2.0, 3.0) if good else ()))
        activity.add(one)
        all_of_them.append(one)
    recent, seconds = activity.recent(now)
    assert list(recent) == [one for one in all_of_them if one.at >= now - 10][-most:]
    assert 0 < seconds <= 10
    rows = activity.rows(lambda one: one.user, recent, seconds)
    assert not any(row.refused_per_second for row in rows if all(o.outcome != "overloaded" for o in recent))
    assert sum(row.per_second for row in rows) * seconds == pytest.approx(sum(o.outcome == "ok" for o in recent))
    assert sum(row.bytes_per_second for row in rows) * seconds == pytest.approx(100 * len(recent))
    assert [row.total is None for row in rows] == [
        not any(o.user == row.name and o.outcome == "ok" for o in recent) for row in rows
    ]


def test_quantiles() -> None:
    many = [Answered(0.0, "", "", "ok", 0, float(total), 0.0, 0.0, 0.0) for total in range(1000, 0, -1)]
    found = quantiles(many, "total")
    assert found is not None
    assert (found.p50, found.p95, found.p99) == (501.0, 951.0, 991.0)
    assert quantiles([Answered(0.0, "", "", "overloaded", 0, 9.0)], "total") is None


async def test_numbers(server: EdgeServer, bundle: Bundle) -> None:
    async with Client(server.url, bundle, mode="edge", times=QUICK) as client:
        for _ in range(3):
            await client.infer(picture(1), point=POINT)
        address = server.url.replace("ws", "http", 1)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{address}/v1/status") as response:
                status = await response.json()
            async with session.get(f"{address}/metrics") as response:
                families = {family.name: family for family in text_string_to_metric_families(await response.text())}
    assert status["connections"] == 1
    assert status["outcomes"] == {"ok": 3}
    assert [(row["name"], row["per_second"]) for row in status["points"]] == [(POINT, 0.3)]
    assert status["users"][0]["name"] == "127.0.0.1"
    assert status["latency"]["total"]["p50"] >= status["latency"]["tail"]["p50"] > 0

    def of_point(family: str, name: str) -> float:
        return sum(s.value for s in families[family].samples if s.name == name and s.labels.get("point") == POINT)

    assert of_point("cutpoint_requests", "cutpoint_requests_total") == 3
    assert of_point("cutpoint_sent_bytes", "cutpoint_sent_bytes_total") == 3 * 12
    assert of_point("cutpoint_received_bytes", "cutpoint_received_bytes_total") > 3 * 20
    for name in ("queue_seconds", "decode_seconds", "tail_seconds", "request_seconds", "payload_bytes", "batch_size"):
        assert families[f"cutpoint_{name}"].type == "histogram"
        counts = [s.value for s in families[f"cutpoint_{name}"].samples if s.name.endswith("_count")]
        assert counts == [3.0]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Chromium, without a window."""
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if None in programs:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    quiet = "disable-gpu disable-background-networking disable-component-update disable-sync no-first-run"
    for flag in (*quiet.split(), "headless", "no-sandbox", f"user-data-dir={tmp_path}", "window-size=1180,980"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(programs[1])))
    try:
        yield driver
    finally:
        driver.quit()


async def test_page(browser: Any, bundle_file: Path, bundle: Bundle, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    scopes = '["infer", "status"]'
    tokens.write_text(f'[[token]]\nname = "<b>fleet"\ntoken = "{TOKEN}"\nscopes = {scopes}\n')
    async with (
        ServerProcess(bundle_file, "--token-file", str(tokens)) as process,
        Client(process.url, bundle, token=TOKEN, mode="edge", times=QUICK) as client,
    ):
        address = process.url.replace("ws", "http", 1) + "/"

        async def ask() -> None:
            while True:
                await client.infer(picture(1), point=POINT)
                await asyncio.sleep(0.01)

        async def shown(id: str) -> str:
            return str(await asyncio.to_thread(lambda: browser.find_element(By.ID, id).text))

        async def wait_for(id: str, good: Any) -> str:
            async with asyncio.timeout(20):
                while not good(text := await shown(id)):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            return text

        asking = asyncio.create_task(ask())
        try:
            await asyncio.to_thread(browser.get, address)
            await wait_for("state", lambda text: text == "locked")
            field = browser.find_element(By.ID, "token")
            await asyncio.to_thread(field.send_keys, TOKEN + "\n")
            await wait_for("state", lambda text: text == "ready")
            first = await wait_for("outcomes", lambda text: text.startswith("ok "))
            await wait_for("outcomes", lambda text: text not in ("", first))  # live
            await wait_for("per_second", lambda text: text != "–" and float(text) > 0)
            users = await shown("users")
            assert users.startswith("<b>fleet ")  # a name is text, whatever it looks like
            assert POINT in await shown("points")
            stages = await shown("latency")
            assert [line.split()[0] for line in stages.splitlines()] == ["total", "queue", "decode", "tail"]
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        said = await asyncio.to_thread(browser.get_log, "browser")
        # The browser itself reports the one answer that asked for a token.
        assert [line["message"] for line in said if "401 (Unauthorized)" not in line["message"]] == []
        events = [
            json.loads(line["message"])["message"] for line in await asyncio.to_thread(browser.get_log, "performance")
        ]
        asked = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        # The browser's own first page is made of chrome:// addresses.
        elsewhere = [url for url in asked if url.startswith(("http", "ws")) and not url.startswith(address)]
        assert f"{address}v1/status" in asked
        assert elsewhere == []
