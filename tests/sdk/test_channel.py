import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.sdk import InputError
from cutpoint.sdk.channel import MAX_RATE, MIN_RATE, NETWORKS, PACKET, PROBABILITIES, Channel, ChannelEstimator


def seen(estimator: ChannelEstimator, rate: float, count: int, now: float, step: float = 0.2) -> float:
    """`count` uploads of 5000 bytes at `rate`; the time afterwards."""
    for _ in range(count):
        now += step
        estimator.observe_upload(5000, 5000 * 8 / rate, now)
    return now


# -- samples of the belief ---------------------------------------------------------------------------------------


def test_samples_go_from_the_best_case_to_an_outage() -> None:
    rates, trips, chances = Channel(1e6, 0.05, spread=0.5, rtt_spread=0.02, stall=0.1).samples()
    assert len(rates) == len(trips) == len(chances) == PROBABILITIES
    assert list(rates[:-1]) == sorted(rates[:-1], reverse=True)
    assert rates[3] == pytest.approx(1e6)
    assert trips[:4] == (0.05,) * 4
    assert trips[6] > trips[4] > 0.05
    assert trips[-1] > 1.0
    assert sum(chances) == pytest.approx(1.0)
    assert chances[-1] == pytest.approx(0.1)


def test_samples_have_the_spread_they_stand_for() -> None:
    rates, _, _ = Channel(1e6, 0.05, spread=0.5).samples()
    logs = [math.log(rate / 1e6) for rate in rates[:-1]]
    deviation = math.sqrt(sum(log * log for log in logs) / len(logs))
    assert deviation == pytest.approx(0.5, rel=0.12)  # seven quantiles lack the tails


# -- rates -------------------------------------------------------------------------------------------------------


def test_spread_tells_a_steady_link_from_a_swinging_one() -> None:
    steady, swinging = ChannelEstimator(), ChannelEstimator()
    for i in range(40):
        steady.observe_upload(5000, 0.04, i * 0.2)
        swinging.observe_upload(5000, 0.04 * (2 if i % 2 else 0.5), i * 0.2)
    assert steady.channel(8.0).spread < 0.35
    assert swinging.channel(8.0).spread > 0.6


def test_first_sample_replaces_the_prior() -> None:
    estimator = ChannelEstimator(uplink=5e6)
    estimator.observe_upload(10_000, 0.08, 1.0)
    assert estimator.channel(1.0).uplink == pytest.approx(1e6, rel=1e-3)


def test_silence_makes_unsure_but_not_wrong() -> None:
    estimator = ChannelEstimator()
    now = seen(estimator, 2e6, 20, 0.0)
    fresh, stale = estimator.channel(now), estimator.channel(now + 60)
    assert stale.uplink == fresh.uplink
    assert stale.spread > 3 * fresh.spread
    assert estimator.channel(now + 1e6).spread < 2


def test_follows_an_abrupt_change_within_two_samples() -> None:
    estimator, now = ChannelEstimator(), 0.0
    for rate in (20e6, 0.5e6, 20e6):
        now = seen(estimator, rate, 2, now)
        assert estimator.channel(now).uplink == pytest.approx(rate, rel=0.1)
        now = seen(estimator, rate, 20, now)
        assert estimator.channel(now).uplink == pytest.approx(rate, rel=0.01)


def test_small_uploads_weigh_less() -> None:
    large, small = ChannelEstimator(), ChannelEstimator()
    for estimator, size in ((large, 5000), (small, 50)):
        estimator.observe_upload(5000, 0.04, 0.0)
        estimator.observe_upload(size, size * 8 / 2e6, 0.2)
    assert large.channel(0.2).uplink > 1.3 * small.channel(0.2).uplink


def test_messages_in_one_packet_say_nothing_of_the_rate() -> None:
    estimator = ChannelEstimator(uplink=5e6)
    estimator.observe_spacing(1200, 1e-5, 0.0)
    estimator.observe_answer([1200, 100], [0.0, 1e-5], 0.05, 100, 0.1)
    assert estimator.channel(0.1).uplink == pytest.approx(5e6)


# -- answers -----------------------------------------------------------------------------------------------------


def test_answer_separates_rate_from_round_trip() -> None:
    estimator = ChannelEstimator()
    for i in range(20):
        # 1 Mbit/s, 40 ms: 5000 bytes take 40 ms, of which the first frame takes 10; half a packet came with it.
        arrivals = [0.0, 0.010, 0.020, (3750 - PACKET / 2) * 8 / 1e6]
        estimator.observe_answer([1250] * 4, arrivals, arrivals[-1] + 0.010 + 0.040, 100, i * 0.2)
    channel = estimator.channel(4.0)
    assert channel.uplink == pytest.approx(1e6, rel=0.01)
    assert channel.rtt == pytest.approx(0.040, rel=0.05)


def test_long_answers_tell_the_downlink() -> None:
    estimator = ChannelEstimator()
    estimator.observe_rtt(0.03)
    for i in range(30):
        estimator.observe_answer([1250] * 4, [0.0, 0.01, 0.02, 0.03], 0.04 + 0.03 + 40_000 * 8 / 4e6, 40_000, i * 0.2)
    assert estimator.channel(6.0).downlink == pytest.approx(4e6, rel=0.1)
    assert estimator.channel(30.0).downlink == pytest.approx(25e6)  # forgotten


def test_short_upload_that_took_long_lowers_the_rate() -> None:
    estimator = ChannelEstimator()
    for i in range(10):
        estimator.observe_rtt(0.05)
        estimator.observe_answer([1000], [0.0], 0.05 + 1000 * 8 / 2e5, 100, i * 0.2)
    assert estimator.channel(2.0).uplink == pytest.approx(2e5, rel=0.3)


def test_round_trip_is_a_median_and_one_spike_moves_nothing() -> None:
    estimator = ChannelEstimator()
    for seconds in (0.05, 0.051, 0.049, 7.0, 0.05, 0.052, 0.05):
        estimator.observe_rtt(seconds)
    channel = estimator.channel(0.0)
    assert channel.rtt == pytest.approx(0.05, abs=0.001)
    assert channel.rtt_spread < 0.01
    for _ in range(4):
        estimator.observe_rtt(0.12)
    assert estimator.channel(0.0).rtt == pytest.approx(0.12)


def test_upload_that_was_called_off_can_only_raise_the_rate() -> None:
    estimator = ChannelEstimator()
    estimator.observe_rtt(0.05)
    now = seen(estimator, 1e6, 10, 0.0)
    estimator.observe_delivery(10_000, 0.05 + 10_000 * 8 / 1e5, now)
    assert estimator.channel(now).uplink == pytest.approx(1e6, rel=0.01)
    for _ in range(5):
        now += 0.2
        estimator.observe_delivery(10_000, 0.05 + 10_000 * 8 / 8e6, now)
    assert estimator.channel(now).uplink > 4e6


def test_kernel_counts_like_any_other_witness() -> None:
    estimator = ChannelEstimator()
    for i in range(10):
        estimator.observe_kernel(0.08, 2e6 if i % 2 else None, i * 0.2)
    channel = estimator.channel(2.0)
    assert channel.rtt == pytest.approx(0.08)
    assert channel.uplink == pytest.approx(2e6, rel=0.05)


# -- outages -----------------------------------------------------------------------------------------------------


def test_what_is_late_lowers_the_belief_and_leaves_no_trace() -> None:
    estimator = ChannelEstimator()
    estimator.observe_rtt(0.05)
    now = seen(estimator, 10e6, 10, 0.0)
    before = estimator.channel(now)
    assert estimator.channel(now, 10_000, 0.04) == before
    late = estimator.channel(now, 10_000, 1.05)
    assert late.uplink == pytest.approx(80_000)
    assert estimator.channel(now, 10_000, 10.0).uplink < late.uplink
    assert estimator.channel(now) == before


def test_share_of_outages_is_learned_and_forgotten() -> None:
    estimator = ChannelEstimator()
    first = estimator.channel(0.0).stall
    for i in range(60):
        estimator.observe_outcome(i % 4 == 0, 0.1 * i)
    often = estimator.channel(6.0).stall
    assert often == pytest.approx(0.22, abs=0.1)
    assert estimator.channel(200.0).stall == pytest.approx(first, rel=0.01)
    for i in range(200):
        estimator.observe_outcome(False, 6.0 + 0.1 * i)
    assert estimator.channel(26.0).stall < first < often


def test_an_outage_counts_once_however_many_requests_met_it() -> None:
    once, often = ChannelEstimator(), ChannelEstimator()
    once.observe_delivery(1000, 2.0, 10.0)
    for seconds in (2.0, 1.6, 1.2, 0.8):  # they left one after the other, and got through together
        often.observe_delivery(1000, seconds, 10.0)
    assert often.channel(10.0).stall == once.channel(10.0).stall > ChannelEstimator().channel(10.0).stall
    often.observe_delivery(1000, 2.0, 12.5)
    assert often.channel(12.5).stall > once.channel(12.5).stall


# -- hints -------------------------------------------------------------------------------------------------------


def test_hint_replaces_what_was_learned() -> None:
    estimator = ChannelEstimator()
    estimator.observe_rtt(0.3)
    now = seen(estimator, 0.2e6, 20, 0.0)
    estimator.network_changed("wifi")
    channel = estimator.channel(now)
    assert channel.uplink == pytest.approx(NETWORKS["wifi"].uplink)
    assert channel.rtt == NETWORKS["wifi"].rtt
    assert channel.downlink == pytest.approx(NETWORKS["wifi"].downlink)
    assert channel.spread > 1.0
    now = seen(estimator, 3e6, 1, now)
    assert estimator.channel(now).uplink == pytest.approx(3e6, rel=0.01)


def test_unknown_network_is_refused() -> None:
    with pytest.raises(InputError, match="'6g' is not one of ethernet, wifi, 5g, lte, 3g"):
        ChannelEstimator().network_changed("6g")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["upload", "delivery", "rtt", "answer", "outcome", "hint"]),
            st.integers(0, 10**9),
            st.floats(0, 1e6),
        ),
        max_size=30,
    )
)
def test_belief_stays_finite_whatever_is_seen(samples: list[tuple[str, int, float]]) -> None:
    estimator = ChannelEstimator()
    for now, (kind, nbytes, seconds) in enumerate(samples):
        match kind:
            case "rtt":
                estimator.observe_rtt(seconds)
            case "answer":
                estimator.observe_answer([nbytes // 2] * 2, [0.0, seconds / 2], seconds, nbytes, now)
            case "outcome":
                estimator.observe_outcome(nbytes % 2 == 0, now)
            case "hint":
                estimator.network_changed("lte")
            case _:
                getattr(estimator, f"observe_{kind}")(nbytes, seconds, now)
    channel = estimator.channel(31.0, *((samples[0][1], samples[0][2]) if samples else ()))
    for rate in (channel.uplink, channel.downlink):
        assert MIN_RATE * 0.999 <= rate <= MAX_RATE * 1.001
    assert 0 < channel.rtt < 1e7
    assert 0 <= channel.rtt_spread < 1e7
    assert 0 < channel.spread <= 3
    assert 0 <= channel.stall <= 1
