import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.sdk.channel import MAX_RATE, MIN_RATE, PACKET, Channel, ChannelEstimator


def test_caution_grows_with_the_spread() -> None:
    assert Channel(1e6, 0.05).cautious_uplink == 1e6
    assert Channel(1e6, 0.05, spread=1.0).cautious_uplink == pytest.approx(1e6 / 2.71828, rel=1e-4)


def test_spread_tells_a_steady_link_from_a_swinging_one() -> None:
    steady, swinging = ChannelEstimator(), ChannelEstimator()
    for i in range(40):
        steady.observe_upload(5000, 0.04)
        swinging.observe_upload(5000, 0.04 * (4 if i % 2 else 0.25))
    assert steady.channel.spread < 0.1
    assert swinging.channel.spread > 1.0


def test_first_sample_replaces_the_prior() -> None:
    estimator = ChannelEstimator(uplink=5e6)
    estimator.observe_upload(10_000, 0.08)
    assert estimator.channel.uplink == pytest.approx(1e6)


def test_answer_separates_rate_from_round_trip() -> None:
    estimator = ChannelEstimator()
    for _ in range(20):
        # 1 Mbit/s, 40 ms: 5000 bytes take 40 ms, of which the first frame takes 10; a packet may have come with it.
        estimator.observe_answer([1250] * 4, [0.0, 0.010, 0.020, (3750 - PACKET) * 8 / 1e6], 0.080)
    assert estimator.channel.uplink == pytest.approx(1e6, rel=0.01)
    assert estimator.channel.rtt == pytest.approx(0.040, rel=0.02)


def test_messages_in_one_packet_say_nothing_of_the_rate() -> None:
    estimator = ChannelEstimator(uplink=5e6)
    estimator.observe_spacing(1200, 1e-5)
    estimator.observe_answer([1200, 100], [0.0, 1e-5], 0.05)
    assert estimator.channel.uplink == pytest.approx(5e6)


def test_short_upload_that_took_long_lowers_the_rate() -> None:
    estimator = ChannelEstimator()
    estimator.observe_rtt(0.05)
    for _ in range(10):
        estimator.observe_answer([1000], [0.0], 0.05 + 1000 * 8 / 2e5)
    assert estimator.channel.uplink == pytest.approx(2e5, rel=0.3)


def test_follows_a_change() -> None:
    estimator = ChannelEstimator()
    for rate in (20e6, 0.5e6, 20e6):
        for _ in range(10):
            estimator.observe_upload(5000, 5000 * 8 / rate)
        assert estimator.channel.uplink == pytest.approx(rate, rel=0.05)


def test_small_uploads_weigh_less() -> None:
    large, small = ChannelEstimator(), ChannelEstimator()
    for estimator, size in ((large, 5000), (small, 50)):
        estimator.observe_upload(5000, 0.04)
        estimator.observe_upload(size, size * 8 / 1e7)
    assert large.channel.uplink > 2 * small.channel.uplink


def test_late_answer_bounds_the_rate_and_never_raises_it() -> None:
    estimator = ChannelEstimator()
    estimator.observe_rtt(0.05)
    estimator.observe_upload(10_000, 0.008)
    estimator.observe_late(10_000, 1.05)
    assert estimator.channel.uplink == pytest.approx(80_000)
    estimator.observe_late(10_000, 0.051)
    assert estimator.channel.uplink == pytest.approx(80_000)


def test_probes_bring_the_belief_back_after_an_outage() -> None:
    estimator = ChannelEstimator()
    estimator.observe_upload(10_000, 0.008)
    estimator.observe_late(10_000, 5.0)
    probes = 0
    while estimator.channel.uplink < 5e6:
        estimator.observe_upload(1200, 1200 * 8 / 10e6)
        probes += 1
    assert probes <= 12


@given(
    st.lists(
        st.tuples(st.sampled_from(["upload", "late", "rtt"]), st.integers(0, 10**9), st.floats(0, 1e6)), max_size=30
    )
)
def test_belief_stays_finite_whatever_is_seen(samples: list[tuple[str, int, float]]) -> None:
    estimator = ChannelEstimator()
    for kind, nbytes, seconds in samples:
        if kind == "rtt":
            estimator.observe_rtt(seconds)
        else:
            getattr(estimator, f"observe_{kind}")(nbytes, seconds)
    channel = estimator.channel
    assert MIN_RATE * 0.999 <= channel.uplink <= MAX_RATE * 1.001
    assert 0 < channel.rtt < 1e7
