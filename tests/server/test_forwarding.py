"""The choice of a server with a next tier, without either."""

from dataclasses import replace

import msgspec
import pytest
from tests.support.exits import exit_bundle
from tests.support.toy import toy_bundle

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.channel import Channel
from cutpoint.sdk.predictor import Conditions
from cutpoint.sdk.protocol import ServerState
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.server.forwarding import Forwarding
from cutpoint.server.tails import LoadedTails, inner_spans, load_tails, span_ms

RAW, FINE, DELTA = "cut0-raw-exact", "cut1-fp32-affine-fine", "cut1-fp32-delta-fine"
#: A way of 10 ms and 100 Mbit/s to something as fast as this server.
CALM = Conditions(Channel(100e6, 0.01, downlink=100e6))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The toy, with tails that take time: 1 ms from the picture, 0.8 ms from the cut."""
    toy = toy_bundle()
    points = tuple(
        msgspec.structs.replace(
            point,
            measured=msgspec.structs.replace(point.measured, tail_ms=1.0 if point.end == 0 else 0.8, encode_ms=0.01),
        )
        for point in toy.points
        if not point.local
    )
    files = {entry.path: (entry.part, toy.read(entry.path)) for entry in toy.manifest.files}
    return Bundle.create(msgspec.structs.replace(toy.manifest, points=(toy.points[0], *points), files=()), files)


@pytest.fixture(scope="module")
def loaded(bundle: Bundle) -> LoadedTails:
    return load_tails(bundle, create_runtime("onnx"), middle=True)[1]


def choose(
    bundle: Bundle, loaded: LoadedTails, point: str, conditions: Conditions, drop: float = 0.0, alone: bool = True
) -> str:
    way, plan = Forwarding(bundle, loaded, drop).choose(bundle.points[bundle.point_number(point)], conditions, alone)
    assert (way.onward is None) == (way.kind == "finished")
    assert (plan.hedge_ms is None) == (way.kind == "finished")
    return f"{way.kind} {way.onward.id}" if way.kind == "forwarded" and way.onward else way.kind


def test_alone_it_finishes(bundle: Bundle, loaded: LoadedTails) -> None:
    for point in bundle.points[1:]:
        assert choose(bundle, loaded, point.id, Conditions(None, device_scale=1e6)) == "finished"
        assert choose(bundle, loaded, point.id, replace(CALM, server=ServerState(draining=True))) == "finished"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "finished"),
        ({"device_scale": 1e3}, "relayed"),
        ({"device_scale": 1e3, "server_scale": 1e3}, "finished"),
        ({"device_queue_ms": 500.0}, "relayed"),
        ({"device_queue_ms": 500.0, "server": ServerState(queue_ms=600.0)}, "finished"),
        ({"device_price": 1e4}, "relayed"),
        ({"device_scale": 10.0, "device_price": 1e4, "server": ServerState(price=1e6)}, "finished"),
        ({"device_scale": 100.0, "channel": Channel(10e3, 0.01)}, "finished"),
    ],
)
def test_what_makes_it_pass_a_request_on(
    bundle: Bundle, loaded: LoadedTails, changes: dict[str, object], expected: str
) -> None:
    assert choose(bundle, loaded, FINE, replace(CALM, **changes)) == expected  # type: ignore[arg-type]


def test_a_narrow_way_is_worth_the_span_to_a_smaller_payload(bundle: Bundle, loaded: LoadedTails) -> None:
    # 768 bytes as they came, 512 or 110 behind a fifth of the tail, which is slow here and fast there.
    narrow = replace(CALM, channel=Channel(50e3, 0.005), device_scale=300.0)
    assert choose(bundle, loaded, RAW, narrow) == f"forwarded {FINE}"
    # Of what loses more than it may, not even the smallest.
    assert choose(bundle, loaded, RAW, narrow, drop=0.08) == "forwarded cut1-fp32-affine-coarse"
    assert choose(bundle, loaded, RAW, replace(narrow, channel=Channel(100e6, 0.005))) == "relayed"


def test_a_budget_brings_the_second_answer_forward(bundle: Bundle, loaded: LoadedTails) -> None:
    # The way usually is the faster one; to finish here takes 80 ms.
    shaky = replace(CALM, channel=Channel(100e6, 0.005, rtt_spread=0.02), device_scale=100.0)
    forwarding, point = Forwarding(bundle, loaded, 0.0), bundle.points[bundle.point_number(FINE)]
    way, plan = forwarding.choose(point, shaky, alone=True)
    assert (way.kind, plan.hedge_ms) == ("relayed", pytest.approx(35, abs=5))
    way, plan = forwarding.choose(point, replace(shaky, budget_ms=100.0), alone=True)
    assert (way.kind, plan.hedge_ms) == ("relayed", pytest.approx(100 - 1.1 * 80 - 3, abs=1))


def test_what_means_nothing_alone_is_not_relayed(bundle: Bundle, loaded: LoadedTails) -> None:
    assert {"0-raw", "1-raw", "1-affine", "1-delta"} <= loaded.encoders
    slow = replace(CALM, device_scale=1e6)
    assert choose(bundle, loaded, DELTA, slow) == "relayed"
    assert choose(bundle, loaded, DELTA, slow, alone=False) == "finished"


def test_without_spans_of_the_middle_nothing_is_forwarded(bundle: Bundle) -> None:
    server_part = load_tails(bundle.part("server"), create_runtime("onnx"), middle=True)[1]
    assert server_part.spans == {}
    assert "1-affine" not in server_part.encoders
    narrow = replace(CALM, channel=Channel(50e3, 0.005), device_scale=300.0)
    assert choose(bundle, server_part, RAW, narrow) == "relayed"


def test_spans_of_the_middle_and_what_they_take(bundle: Bundle, loaded: LoadedTails) -> None:
    assert inner_spans(bundle, "onnx") == ((0, 1, "fp32"),)
    assert inner_spans(bundle, "tflite") == ()
    assert set(loaded.spans) == {(0, 1, "fp32")}
    assert load_tails(bundle, create_runtime("onnx"))[1].spans == {}
    assert span_ms(bundle, 0, 1) == pytest.approx(0.2)
    assert loaded.spans[0, 1, "fp32"].seconds == pytest.approx(0.2e-3)
    assert loaded.scale > 0


def test_a_request_that_an_exit_did_not_answer_is_like_any_other() -> None:
    bundle = exit_bundle(rate=0.9)
    loaded = load_tails(bundle, create_runtime("onnx"), middle=True)[1]
    forwarding = Forwarding(bundle, loaded, 0.0)
    plain, asking = (bundle.points[bundle.point_number(f"cut1-fp32-raw-exact{end}")] for end in ("", "-exit1"))
    for busy in (0.0, 500.0):
        conditions = replace(CALM, device_queue_ms=busy)
        (way, plan), (other, same) = (forwarding.choose(point, conditions, True) for point in (plain, asking))
        assert (way.kind, plan.cost, plan.predicted_ms) == (other.kind, same.cost, same.predicted_ms)
    for point in bundle.points:
        if not point.local:
            way, _ = forwarding.choose(point, replace(CALM, device_queue_ms=500.0), False)
            assert way.onward is None or way.onward.exit is None
