"""Exits on the device: what the head runner does, and what the predictor and the policy make of it."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sdk.test_policy import EARLY, LOCAL
from tests.support.exits import EXIT, exit_bundle
from tests.support.toy import noise, picture

from cutpoint.codecs import DeltaCodec
from cutpoint.sdk import AdaptivePolicy, Bundle, BundleError, Channel, Conditions, EnergyModel, Objective
from cutpoint.sdk.bundle import Point, decode_manifest, encode_manifest
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.policy import admissible
from cutpoint.sdk.predictor import OVERHEAD_BYTES, Predictor
from cutpoint.sdk.runtimes import Graph, create_runtime

ENERGY = EnergyModel()
LINK = Channel(2e6, 0.04, spread=0.7, stall=0.2)


class Counting(BundleGraphs):
    """Notes which spans run."""

    ran: list[tuple[int, int]]

    def span(self, start: int, end: int, precision: str) -> Graph:
        self.ran.append((start, end))
        return super().span(start, end, precision)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return exit_bundle()


def head_of(bundle: Bundle) -> tuple[Head, Counting]:
    graphs = Counting(bundle.part("device"), [create_runtime("onnx")])
    graphs.ran = []
    return Head(graphs), graphs


def asking(bundle: Bundle) -> tuple[Point, ...]:
    return tuple(point for point in bundle.points if point.exit is not None)


def plain(bundle: Bundle, point: Point) -> Point:
    return next(p for p in bundle.points if p.id == point.id.removesuffix("-exit1"))


def with_exit(point: Point, rate: float, ms: float) -> Point:
    measured = msgspec.structs.replace(point.measured, exit_rate=rate, exit_ms=ms)
    return msgspec.structs.replace(point, id=f"{point.id}-exit", measured=measured, exit="exit")


# -- running -----------------------------------------------------------------------------------------------------------


def test_what_is_easy_ends_at_the_exit(bundle: Bundle) -> None:
    head, graphs = head_of(bundle)
    for point in asking(bundle):
        for label in range(3):
            graphs.ran.clear()
            done = head.run(point, head.prepare(picture(label, 9)))
            assert (done.exit, done.payload, done.encode_ms) == (EXIT, None, 0.0)
            assert done.outputs is not None
            assert len(done.outputs) == 1
            assert done.outputs[0].argmax() == label
            assert graphs.ran == [(0, 1)]


def test_the_rest_goes_on_where_it_was(bundle: Bundle) -> None:
    head, graphs = head_of(bundle)
    for point in asking(bundle):
        tensors = head.prepare(noise(1))
        without = head.run(plain(bundle, point), tensors)
        graphs.ran.clear()
        done = head.run(point, tensors)
        assert done.exit is None
        assert done.payload == without.payload
        if point.local:
            assert done.outputs is not None
            assert without.outputs is not None
            np.testing.assert_allclose(done.outputs[0], without.outputs[0], rtol=1e-5)
        assert graphs.ran == ([(0, 1), (1, 2)] if point.local else [(0, 1)])


def test_a_confidence_that_is_no_number_answers_nothing() -> None:
    bundle = exit_bundle(sharpness=float("nan"))
    head, _ = head_of(bundle)
    assert head.run(asking(bundle)[0], head.prepare(picture(0, 9))).exit is None


def test_a_stream_goes_on_over_frames_that_the_exit_answered(bundle: Bundle) -> None:
    head, graphs = head_of(bundle)
    assert isinstance(graphs.codec("1-delta"), DeltaCodec)
    point = next(point for point in asking(bundle) if point.codec == "1-delta")
    first = head.run(point, head.prepare(noise(1)))
    assert head.run(point, head.prepare(picture(0, 1)), first.symbols).symbols is None
    again = head.run(point, head.prepare(noise(1)), first.symbols)
    assert again.payload is not None
    assert first.payload is not None
    assert len(again.payload) < len(first.payload)


def test_warming_up_loads_what_lies_behind_the_exit() -> None:
    head, graphs = head_of(exit_bundle(confidence=0.0))
    head.warm_up(asking(graphs.bundle))
    assert (1, 2) in graphs.ran


# -- the bundle --------------------------------------------------------------------------------------------------------


def test_a_device_part_holds_the_exit_and_what_lies_behind_it(bundle: Bundle) -> None:
    graphs = BundleGraphs(bundle.part("device", runtime="onnx", precision="fp32"), [create_runtime("onnx")])
    assert all(graphs.supports(point) for point in bundle.points)


def test_without_the_exits_file_its_points_cannot_run_here(bundle: Bundle) -> None:
    exit = msgspec.structs.replace(bundle.manifest.exits[0], precision="int8")
    heads = [msgspec.structs.replace(span, precision="int8") for span in bundle.manifest.spans]
    points = [msgspec.structs.replace(p, precision="int8") if p.exit else p for p in bundle.points]
    manifest = msgspec.structs.replace(
        bundle.manifest, exits=(exit,), spans=(*bundle.manifest.spans, *heads), points=tuple(points), files=()
    )
    files = {entry.path: (entry.part, bundle.read(entry.path)) for entry in bundle.manifest.files}
    mixed = Bundle.create(manifest, files)
    small = mixed.part("device", precision="fp32")
    assert "exits/exit1-fp32.onnx" not in small
    graphs = BundleGraphs(small, [create_runtime("onnx")])
    assert [graphs.supports(p) for p in points] == [p.exit is None for p in points]


def test_a_bundle_without_exits_is_what_it_was() -> None:
    text = encode_manifest(msgspec.structs.replace(exit_bundle().manifest, exits=(), points=exit_bundle().points[:7]))
    assert b"exit" not in text.replace(b"exits/exit1-fp32.onnx", b"")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"exits": ()}, "names exit 'exit1-fp32', which is not there"),
        ({"boundary": 2}, "at a boundary that is not there"),
        ({"thresholds": ()}, "has no threshold"),
        ({"graphs": ()}, "has no graph file"),
        ({"precision": "int8"}, "does not lie on the way"),
        ({"threshold": 1}, "has no threshold 1"),
        ({"spans": True}, "no span behind its exit"),
        ({"alone": True}, "a device must be able to answer alone"),
    ],
)
def test_a_manifest_that_does_not_hold_together_is_refused(
    bundle: Bundle, changes: dict[str, object], complaint: str
) -> None:
    manifest = bundle.manifest
    if "exits" in changes:
        manifest = msgspec.structs.replace(manifest, exits=())
    elif "threshold" in changes:
        points = tuple(msgspec.structs.replace(p, threshold=1) if p.exit else p for p in manifest.points)
        manifest = msgspec.structs.replace(manifest, points=points)
    elif "spans" in changes:
        local = tuple(point for point in manifest.points if point.local)
        manifest = msgspec.structs.replace(manifest, points=local, spans=manifest.spans[:2])
    elif "alone" in changes:
        manifest = msgspec.structs.replace(manifest, points=asking(bundle)[:1])
    else:
        exit = msgspec.structs.replace(manifest.exits[0], **changes)
        manifest = msgspec.structs.replace(manifest, exits=(exit,))
    with pytest.raises(BundleError, match=complaint):
        decode_manifest(encode_manifest(manifest))


@pytest.mark.parametrize(
    ("point", "spans", "complaint"),
    [
        ("nowhere", True, "names point 'nowhere', which is not there"),
        ("cut2-fp32", True, "cannot be asked by servers for point 'cut2-fp32'"),
        ("cut1-fp32-raw-exact-exit1", True, "cannot be asked by servers"),
        ("cut0-raw-exact", False, "there is no span in between"),
    ],
)
def test_servers_are_named_only_what_lies_before_the_exit(
    bundle: Bundle, point: str, spans: bool, complaint: str
) -> None:
    (exit,) = bundle.manifest.exits
    use = msgspec.structs.replace(exit.servers[0], point=point)
    kept = [each for each in bundle.points if not each.exit or each.id == point]
    manifest = msgspec.structs.replace(
        bundle.manifest, exits=(msgspec.structs.replace(exit, servers=(use,)),), points=tuple(kept)
    )
    if not spans:
        points = [each for each in kept if not each.start or each.local]
        rest = [span for span in bundle.manifest.spans if span.key != (0, 1, "fp32")]
        manifest = msgspec.structs.replace(manifest, spans=tuple(rest), points=tuple(points))
    with pytest.raises(BundleError, match=complaint):
        decode_manifest(encode_manifest(manifest))


def test_what_servers_may_ask_is_listed_by_its_promise(bundle: Bundle) -> None:
    (exit,) = bundle.manifest.exits
    use = exit.servers[0]
    drops = [0.05, 0.01, 0.02]
    uses = [msgspec.structs.replace(use, threshold=msgspec.structs.replace(use.threshold, drop=d)) for d in drops]
    manifest = msgspec.structs.replace(
        bundle.manifest, exits=(msgspec.structs.replace(exit, servers=tuple(uses)),), files=()
    )
    files = {entry.path: (entry.part, bundle.read(entry.path)) for entry in bundle.manifest.files}
    made = Bundle.create(manifest, files)
    found = made.server_exits(made.points[made.point_number(use.point)])
    assert [use.threshold.drop for _, use in found] == sorted(drops)
    assert made.server_exits(made.points[made.point_number("cut2-fp32")]) == ()


# -- deciding ----------------------------------------------------------------------------------------------------------


@given(rate=st.floats(0, 1), ms=st.floats(0.1, 9), queue=st.floats(0, 50), scale=st.floats(0.5, 50))
def test_a_prediction_is_the_mean_of_both_ways(rate: float, ms: float, queue: float, scale: float) -> None:
    points = tuple(sorted((LOCAL, EARLY, with_exit(EARLY, rate, ms), with_exit(LOCAL, rate, ms)), key=lambda p: p.id))
    points = tuple(sorted(points, key=lambda point: not point.local))
    conditions = Conditions(LINK, device_scale=scale, device_queue_ms=queue)
    found = Predictor(points, ENERGY).predict(conditions)
    places = {point.id: number for number, point in enumerate(points)}
    for point in (LOCAL, EARLY):
        exit, other = places[f"{point.id}-exit"], places[point.id]
        alone = queue + scale * ms
        whole = found.latency_ms[:, other]
        np.testing.assert_allclose(found.latency_ms[:, exit], whole)
        np.testing.assert_allclose(found.mean_latency_ms[:, exit], rate * alone + (1 - rate) * whole)
        np.testing.assert_allclose(found.server_ms[exit], (1 - rate) * found.server_ms[other])
        early_mj = ENERGY.compute_mj(scale * ms)
        np.testing.assert_allclose(
            found.energy_mj[exit], rate * early_mj + (1 - rate) * found.energy_mj[other], rtol=1e-9
        )


def test_without_a_link_the_devices_exit_still_counts() -> None:
    points = (LOCAL, with_exit(LOCAL, 0.5, 2.0), EARLY)
    found = Predictor(points, ENERGY).predict(Conditions(None))
    assert found.mean_device_ms.tolist() == pytest.approx([10.0, 6.0])
    assert AdaptivePolicy(points).choose(Conditions(None)).point.exit == "exit"


def test_the_policy_takes_an_exit_where_it_pays() -> None:
    def choice(rate: float, ms: float) -> Point:
        points = (LOCAL, EARLY, with_exit(EARLY, rate, ms))
        return AdaptivePolicy(points, Objective()).choose(Conditions(Channel(5e6, 0.05), device_scale=20)).point

    assert choice(0.5, 2.0).exit == "exit"
    assert choice(0.01, 9.0).exit is None


def test_a_deadline_is_missed_only_by_those_that_go_on() -> None:
    points = (LOCAL, with_exit(LOCAL, 0.5, 2.0))
    policy = AdaptivePolicy(points, Objective(deadline=0.005))
    assert policy.choose(Conditions(None)).point.exit == "exit"
    sure = AdaptivePolicy((LOCAL, with_exit(LOCAL, 0.1, 9.0)), Objective(deadline=0.0101))
    slow = msgspec.structs.replace(sure.points[1].measured, device_ms=11.0)
    risky = msgspec.structs.replace(sure.points[1], measured=slow)
    assert AdaptivePolicy((LOCAL, risky), Objective(deadline=0.0101)).choose(Conditions(None)).point is LOCAL


def test_a_point_without_exit_is_always_admitted() -> None:
    better = with_exit(LOCAL, 0.5, 2.0)
    better = msgspec.structs.replace(better, measured=msgspec.structs.replace(better.measured, metric=0.999))
    assert LOCAL in admissible((LOCAL, better, EARLY), 0.995)


def test_bytes_are_paid_by_those_that_send() -> None:
    half = with_exit(EARLY, 0.5, 2.0)
    assert half.measured.expected.bytes_mean == EARLY.measured.bytes_mean / 2
    found = Predictor((EARLY, half), ENERGY)._means[1].tolist()
    assert found == [EARLY.measured.bytes_mean + OVERHEAD_BYTES, (EARLY.measured.bytes_mean + OVERHEAD_BYTES) / 2]
