import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.monitor import LinkMonitor


def at_rate(rate: float = 8e6) -> LinkMonitor:
    """A monitor that has seen a link of that rate and 50 ms."""
    estimator = ChannelEstimator(rtt=0.05)
    for i in range(10):
        estimator.observe_upload(10_000, 10_000 * 8 / rate, -2.0 + i * 0.2)
    return LinkMonitor(estimator)


def test_answers_reach_the_estimator() -> None:
    monitor = at_rate()
    monitor.sent(1, [2500] * 4, 0.01, 0.0)
    assert monitor.unanswered == 10_000
    # 1 Mbit/s: 20 ms a frame; half a packet came along with the first.
    monitor.answered(1, [0.0, 0.02, 0.04, 0.0542], 0.01, 100, 0.0542 + 0.02 + 0.05 + 0.01)
    assert monitor.unanswered == 0
    assert monitor.channel(0.2).uplink == pytest.approx(1e6, rel=0.1)


def test_what_is_overdue_shows_in_the_belief_until_it_is_there() -> None:
    monitor = at_rate()
    monitor.sent(1, [5000], 0.5, 0.0)
    assert monitor.channel(0.5).uplink == pytest.approx(8e6, rel=0.01)  # the server computes
    assert monitor.channel(1.55).uplink == pytest.approx(40_000, rel=0.01)
    monitor.cancelled(1)
    assert monitor.channel(2.0).uplink < 40_000
    monitor.refused(1, 3.0)
    assert monitor.channel(3.0).uplink == pytest.approx(8e6, rel=0.01)
    assert monitor.channel(3.0).stall > 0.03


def test_what_has_arrived_by_now_holds_nothing_up() -> None:
    monitor = at_rate()  # a byte takes a microsecond
    assert monitor.on_the_way(0.0) == 0.0
    monitor.sent(1, [20_000] * 5, 0.5, 0.0)
    monitor.sent(2, [20_000], 0.5, 0.01)
    assert monitor.on_the_way(0.01) == pytest.approx(110_000, rel=0.02)
    assert monitor.on_the_way(0.1) == pytest.approx(20_000, rel=0.1)  # the second comes behind the first
    assert monitor.on_the_way(0.3) == 0.0  # the server computes
    assert monitor.on_the_way(0.66) == 100_000  # the first answer is overdue, the second is not yet
    assert monitor.on_the_way(0.7) == 120_000
    monitor.refused(1, 0.7)
    monitor.sent(3, [1000], 0.5, 0.7)
    monitor.sent_part(3, [9000])
    assert monitor.on_the_way(0.8) == 30_000  # nobody knows when the rest of the third left


def test_silence_counts_from_the_last_word() -> None:
    monitor = at_rate()
    assert monitor.silent(100.0) == 0.0
    monitor.sent(1, [100], 0.0, 10.0)
    assert monitor.silent(12.0) == 2.0
    monitor.heard(11.5)
    assert monitor.silent(12.0) == 0.5
    monitor.reset()
    assert monitor.silent(20.0) == 0.0
    assert monitor.unanswered == 0


def test_probe_measures_the_gap_between_its_pings() -> None:
    monitor = at_rate(20e6)
    assert monitor.wants_probe(1.0)
    monitor.probed(monitor.padding(1.0), 1.0)
    assert not monitor.wants_probe(2.0)
    for attempt in range(4):
        sent = 1.0 + attempt
        monitor.probed(3 * 1460, sent)
        monitor.pong(sent, 50.0, sent + 0.08)
        monitor.pong(sent, 50.0 + (3 * 1460 + 60) * 8 / 1e6, sent + 0.12)
    assert monitor.channel(4.2).uplink == pytest.approx(1e6, rel=0.01)
    assert monitor.channel(4.2).rtt == pytest.approx(0.08)
    monitor.heard(4.2)
    monitor.estimator.observe_upload(5000, 0.01, 4.2)
    assert not monitor.wants_probe(5.1)
    assert monitor.wants_probe(5.2)


def test_small_uploads_do_not_replace_probes() -> None:
    monitor, now = at_rate(), 0.0
    monitor.estimator.observe_upload(5000, 0.01, now)
    for i in range(8):
        now += 0.25
        monitor.asked(now)
        monitor.sent(i, [300], 0.0, now)
        monitor.heard(now)
        assert not monitor.wants_probe(now)
        monitor.heard(now + 0.05)
        monitor.answered(i, [0.0], 0.0, 100, now + 0.05)
    assert monitor.wants_probe(now + 0.05)
    monitor.estimator.observe_upload(5000, 0.01, now + 0.06)
    assert not monitor.wants_probe(now + 0.1)


def test_link_that_nobody_wants_is_probed_rarely() -> None:
    monitor = at_rate()
    monitor.heard(100.0)
    monitor.asked(100.0)
    monitor.estimator.observe_upload(5000, 0.01, 100.0)
    assert not monitor.wants_probe(100.9)
    assert monitor.wants_probe(101.0)
    assert monitor.rest(101.0) == 0.25
    assert not monitor.wants_probe(111.0)
    assert monitor.rest(111.0) == 1.0
    assert monitor.wants_probe(115.5)
    monitor.asked(111.0)
    assert monitor.wants_probe(111.0)


def test_probes_that_lead_to_no_request_become_rarer_where_energy_counts() -> None:
    monitor, now, waits = LinkMonitor(ChannelEstimator(), thrifty=True), 0.0, []
    for number in range(9):
        if number == 7:
            monitor.sent(1, [1000], 0.0, now)
            monitor.answered(1, [0.0], 0.0, 100, now)
        monitor.asked(now)
        monitor.heard(now)
        last = now
        while not monitor.wants_probe(now):
            now += 0.25
            monitor.asked(now)
        waits.append(now - last)
        monitor.probed(monitor.padding(now), now)
        monitor.pong(now, now, now)
        monitor.pong(now, now + 0.1, now)
        assert monitor.rest(now) < 0.5  # A link that goes silent is found out as soon as ever.
    assert waits == [0.0, 3.0, 6.0, 12.0, 24.0, 48.0, 48.0, 1.5, 3.0]


@pytest.mark.parametrize(("rate", "packets"), [(0.5e6, 1), (2e6, 2), (8e6, 3)])
def test_probes_are_smaller_on_slow_links_where_energy_counts(rate: float, packets: int) -> None:
    frugal = LinkMonitor(at_rate(rate).estimator, thrifty=True)
    assert frugal.padding(0.0) == 1460 * packets
    assert at_rate(rate).padding(0.0) == 3 * 1460


def test_ping_behind_an_upload_says_nothing_of_the_path() -> None:
    monitor = at_rate()
    monitor.sent(1, [100_000], 0.0, 0.0)
    monitor.probed(3 * 1460, 0.0)
    monitor.pong(0.0, 9.0, 2.0)
    assert monitor.channel(2.0).rtt == pytest.approx(0.05)


def test_answers_to_what_nobody_asked_change_nothing() -> None:
    monitor = at_rate()
    before = monitor.channel(0.0)
    monitor.answered(7, [0.0], 0.0, 100, 0.0)
    monitor.refused(8, 0.0)
    monitor.cancelled(9)
    assert monitor.channel(0.0) == before


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sent", "answered", "refused", "cancelled", "probed", "pong", "reset"]), st.integers(0, 5)
        ),
        max_size=60,
    )
)
def test_any_order_of_events_leaves_a_belief(events: list[tuple[str, int]]) -> None:
    monitor, now = at_rate(), 0.0
    for kind, number in events:
        now += 0.1
        match kind:
            case "sent":
                monitor.sent(number, [1000, 1000], 0.01, now)
            case "answered":
                monitor.answered(number, [0.0, 0.01], 0.01, 4000, now)
            case "probed":
                monitor.probed(monitor.padding(now), now)
            case "pong":
                monitor.pong(now - 0.1 * number, now, now)
            case "reset":
                monitor.reset()
            case _:
                getattr(monitor, kind)(number, *([now] if kind == "refused" else []))
        channel = monitor.channel(now)
        assert channel.uplink > 0
        assert channel.rtt > 0
        assert monitor.silent(now) >= 0
