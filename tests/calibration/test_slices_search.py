from hypothesis import given
from hypothesis import strategies as st

from cutpoint.calibration.slices.rows import Rows
from cutpoint.calibration.slices.search import Cutting, cuttings, search_schedule
from cutpoint.sdk.overlap import ChannelState, SliceCost, SlicedHead, best_schedule


@given(st.integers(1, 112))
def test_every_way_covers_the_rows_once(height: int) -> None:
    ways = list(cuttings(2, height))
    assert len(set(ways)) == len(ways)
    assert Cutting(2, (Rows(0, height),)) in ways
    for way in ways:
        assert [row for rows in way.slices for row in range(rows.start, rows.stop)] == list(range(height))


def even(way: Cutting, slower: float = 1.0) -> SlicedHead:
    """A millisecond a row on the device, a quarter on the server; a row of picture or of features is as long."""
    return SlicedHead(
        way.boundary,
        tuple(SliceCost(slower * len(rows), len(rows), 0, 0, len(rows), slower * len(rows) / 4) for rows in way.slices),
        tail_ms=0,
    )


STATE = ChannelState(uplink=8e5, rtt_ms=0)


def test_device_and_server_share_the_rows() -> None:
    best, cutting = search_schedule(list(cuttings(1, 56)), [], 56, STATE, even, even, finalists=3)
    assert cutting is not None
    # At best both are busy to the end: 56 rows at a row and a quarter of a row each. Rows come in steps of four.
    assert 56 / 5 <= best.latency_ms < 1.2 * 56 / 5
    server = sum(len(rows) for rows in cutting.slices[: best.raw])
    assert 40 <= server <= 48


def test_measurement_has_the_last_word() -> None:
    ways = list(cuttings(1, 56))
    unsliced = [SlicedHead(0, (SliceCost(0, 56, 0, 0, 0, 0),), tail_ms=14)]
    usual = best_schedule(unsliced, 56, STATE)
    best, cutting = search_schedule(ways, unsliced, 56, STATE, even, lambda way: even(way, slower=3))
    assert (best, cutting) == (usual, None)
    measured: list[Cutting] = []

    def measure(way: Cutting) -> SlicedHead:
        measured.append(way)
        return even(way)

    best, cutting = search_schedule(ways, unsliced, 56, STATE, even, measure, finalists=4)
    assert best.latency_ms < usual.latency_ms
    assert cutting in measured
    assert len(measured) == 4
