from __future__ import annotations

import numpy as np
import pytest
from tests.server.test_peer import following
from tests.support.sharing import WORK_SIDE, work_bundle
from tests.support.waiting import until

from cutpoint.codecs import Array, BitstreamError
from cutpoint.sdk import BadPayload, Bundle, TooLarge, UnknownPoint
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail
from cutpoint.server import EdgeServer, Settings
from cutpoint.server.shared_slices import Decoding, SliceTable, time_slices
from cutpoint.server.tails import Encoded, load_tails, run_together


@pytest.fixture(scope="module")
def work() -> Bundle:
    return work_bundle(("r1", "r5"), (2,))


@pytest.fixture(scope="module")
def tail(work: Bundle) -> Tail:
    return Tail(BundleGraphs(work, [create_runtime("onnx")]))


def picture(seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (1, WORK_SIDE, WORK_SIDE, 3)).astype(np.uint8)


def test_slices_of_every_span_give_the_rows_of_the_whole(work: Bundle, tail: Tail) -> None:
    table = SliceTable(work)
    spans = {(piece.start, piece.end) for piece in table.slices}
    assert spans == {(0, 1), (0, 2), (1, 2)}
    for start, end in spans:
        tensors = (picture(),) if start == 0 else tail.span(0, "fp32", start).run([picture()])
        parts = {}
        for number, piece in enumerate(table.slices):
            if (piece.start, piece.end) == (start, end):
                sample = table.cut(number, tensors)
                assert len(sample.payload) == table.takes(number)
                [outcome] = run_together(tail, [sample])
                assert not isinstance(outcome, Exception)
                parts[number] = outcome.outputs
                assert sum(output.nbytes for output in outcome.outputs) == table.gives(number)
        whole = tail.span(start, "fp32", end).run(tensors)
        # In whatever order they come.
        joined = table.join(dict(reversed(parts.items())))
        np.testing.assert_allclose(joined[0], whole[0], atol=1e-4)


def test_rows_that_are_not_as_many_as_a_slice_needs_are_refused(work: Bundle, tail: Tail) -> None:
    table = SliceTable(work)
    [outcome] = run_together(tail, [table.sample(0, bytes(table.takes(0) - 1))])
    assert isinstance(outcome, BitstreamError)


def test_a_decoder_alone_gives_the_tensors(work: Bundle, tail: Tail) -> None:
    point = work.points[work.point_number("cut0-raw-exact")]
    [outcome] = run_together(tail, [Decoding(Encoded(point, picture().tobytes()))])
    assert not isinstance(outcome, Exception)
    np.testing.assert_array_equal(outcome.outputs[0], picture())


def test_what_slices_take_is_measured_when_they_are_loaded(work: Bundle, tail: Tail) -> None:
    runtime = create_runtime("onnx")
    _, loaded = load_tails(work, runtime, middle=True)
    assert loaded.shared.keys() == set(range(len(work.manifest.slices)))
    assert all(seconds > 0 for seconds in loaded.shared.values())
    assert not load_tails(work, runtime)[1].shared, "of use with other nodes only"
    assert not time_slices(work, tail, "tflite", 1.0)
    assert not SliceTable(work_bundle(ways=())).slices


async def test_a_server_computes_the_slices_it_is_asked_for(work: Bundle, tail: Tail) -> None:
    server = EdgeServer(work, Settings(port=0, grace=1.0, spans=True))
    await server.start()
    try:
        async with following(server) as (peer, told):
            await until(lambda: told and told[-1] is not None)
            assert told[-1] is not None
            assert told[-1].report.slices[work.hash].keys() == set(range(len(work.manifest.slices)))
            table, first = SliceTable(work), len(work.points)
            payload = table.cut(0, [picture()]).payload
            result = await peer.request(work.hash, first, payload, 0.0, 0.01, 0)
            piece = table.slices[0]
            whole = tail.span(piece.start, "fp32", piece.end).run([picture()])[0]
            np.testing.assert_allclose(result.outputs[0], whole[:, :, slice(*piece.rows)], atol=1e-4)
            assert len(result.hops) == 1
            assert result.hops[0].compute_ms > 0
            with pytest.raises(TooLarge):
                await peer.request(work.hash, first, payload + b"x", 0.0, 0.01, 0)
            with pytest.raises(BadPayload):
                await peer.request(work.hash, first, payload[:-1], 0.0, 0.01, 0)
            with pytest.raises(UnknownPoint, match="a slice stops where it ends"):
                await peer.request(work.hash, first, payload, 0.0, 0.01, 1)
            with pytest.raises(UnknownPoint):
                await peer.request(work.hash, first + len(table.slices), payload, 0.0, 0.01, 0)
    finally:
        await server.stop()


async def test_one_that_has_not_loaded_them_does_not(work: Bundle) -> None:
    server = EdgeServer(work, Settings(port=0, grace=1.0))
    await server.start()
    try:
        async with following(server) as (peer, told):
            await until(lambda: told and told[-1] is not None)
            assert told[-1] is not None
            assert not told[-1].report.slices[work.hash]
            with pytest.raises(UnknownPoint):
                await peer.request(work.hash, len(work.points), b"", 0.0, 0.01, 0)
    finally:
        await server.stop()
