package dev.cutpoint.core.policy;

import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;

/**
 * Turns what the link did into a belief about it. All times are seconds; {@code now} never goes back. No clock and no
 * socket in here; for one thread.
 */
public final class ChannelEstimator {
    /** Bytes of payload in a packet, at most. Less weighs less: the times of small uploads are mostly jitter. */
    public static final int PACKET = 1460;

    /** Seconds that event loops and schedulers add at random; differences below say nothing. */
    private static final double JITTER = 0.005;
    /** Samples of round trips and of downloads that are remembered; their median is believed. */
    private static final int REMEMBERED = 7;
    /** Seconds after which a download says nothing any more. (Round trips are probed, downloads are not.) */
    private static final double DOWNLOAD_AGE = 10;
    /** An answer met an outage if it took this many times as long as expected, and seconds more. */
    private static final double LATE = 3;

    private static final double LATE_BY = 0.1;
    /** Of what is late: how much of the way back to what was believed before is a standard deviation. */
    private static final double HOPE = 0.5;

    private static final double MOST_SPREAD = 3;
    /** Share of outages before anything is known. */
    private static final double FIRST_STALL = 0.01;
    /** Weight of a request in the share of outages, and the seconds in which it is forgotten. */
    private static final double STALL_WEIGHT = 0.03;

    private static final double STALL_AGE = 20;

    private final LogRate uplink = new LogRate(5e6);
    private double downlink;
    private final Deque<Download> downloads = new ArrayDeque<>();
    private final Deque<Double> trips = new ArrayDeque<>();
    private double stall;
    private double stallAt;
    /** When the last request that met an outage got through. */
    private double restoredAt;

    /** Begins with a mobile network of the middling kind. */
    public ChannelEstimator() {
        begin(25e6, 0.05);
    }

    private void begin(double downlink, double rtt) {
        this.downlink = downlink;
        downloads.clear();
        trips.clear();
        trips.add(rtt);
        stall = FIRST_STALL;
        stallAt = 0;
        restoredAt = Double.NEGATIVE_INFINITY;
    }

    /** When something that was large enough last told the uplink's rate. */
    public double ratedAt() {
        return uplink.seenAt();
    }

    // -- the belief --------------------------------------------------------------------------------------------------

    /**
     * The belief at {@code now}, in the light of what is late. The rate is at most what lets it be so late; nothing of
     * that is left once the answer is there and tells how it really was.
     *
     * @param bytes of the oldest upload that should have been answered
     * @param waiting seconds for which it has been on its way; 0 if nothing is late
     */
    public Channel channel(double now, double bytes, double waiting) {
        double[] ordered = orderedTrips();
        double rtt = median(ordered);
        double rttSpread = secondLongest(ordered) - rtt;
        double mean = uplink.mean();
        double spread = uplink.spread(now);
        if (waiting > rtt + rttSpread + JITTER) {
            double bound = Math.log(Math.max(Channel.MIN_RATE, bytes * 8 / (waiting - rtt)));
            // It may stay like that, or be over this moment.
            spread = Math.min(MOST_SPREAD, spread + HOPE * Math.max(0, mean - bound));
            mean = Math.min(mean, bound);
        }
        return new Channel(Math.exp(mean), rtt, spread, 1 / download(now), rttSpread, stallShare(now));
    }

    /** Seconds of a byte, in the middle of what may be, whatever is late. */
    public double usualByteSeconds() {
        return 8 / Math.exp(uplink.mean());
    }

    /** Seconds of the round trip, in the middle of what may be, whatever is late. */
    public double usualRtt() {
        return roundTrip();
    }

    /** Without news it goes back to what it was at first: a device that stays away would never learn better. */
    private double stallShare(double now) {
        double kept = Math.exp(-Math.max(0, now - stallAt) / STALL_AGE);
        return FIRST_STALL + kept * (stall - FIRST_STALL);
    }

    private double roundTrip() {
        return median(orderedTrips());
    }

    private double[] orderedTrips() {
        return trips.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    }

    private static double median(double[] ordered) {
        return ordered[(ordered.length - 1) / 2];
    }

    /** One spike in a while is an outage's, not the path's. */
    private static double secondLongest(double[] ordered) {
        return ordered[Math.max((ordered.length - 1) / 2, ordered.length - 2)];
    }

    /** Seconds a bit. */
    private double download(double now) {
        double[] ordered = downloads.stream()
                .filter(seen -> now - seen.at < DOWNLOAD_AGE)
                .mapToDouble(seen -> seen.byteSeconds)
                .sorted()
                .toArray();
        if (ordered.length == 0) {
            return 1 / downlink;
        }
        return Math.min(1 / Channel.MIN_RATE, Math.max(1 / Channel.MAX_RATE, median(ordered) / 8));
    }

    /** Seconds that an upload and its answer probably take, without the server. */
    private double expected(double bytes, double answer, double now) {
        return bytes * 8 / Math.exp(uplink.mean()) + roundTrip() + answer * 8 * download(now);
    }

    // -- what was seen -----------------------------------------------------------------------------------------------

    /** The network is another one now: what was learned of the old one does not hold. */
    public void networkChanged(Network network) {
        uplink.expect(network.uplink);
        begin(network.downlink, network.rtt);
    }

    /** {@code bytes} took {@code seconds} to arrive, apart from the way there. */
    public void observeUpload(double bytes, double seconds, double now) {
        uplink.observe(bytes * 8 / Math.max(seconds, 1e-9), Math.min(1, bytes / PACKET), now);
    }

    /**
     * The last of {@code bytes} arrived {@code seconds} after the message before them did. Up to a packet of them may
     * have come together with that message, because a packet does not end where a message does: half a one is left
     * out. Where there is no more than one, the arrivals say nothing of the rate.
     */
    public void observeSpacing(double bytes, double seconds, double now) {
        if (bytes > PACKET && seconds > 0) {
            observeUpload(bytes - PACKET / 2.0, seconds, now);
        }
    }

    /** Something small went there and back in {@code seconds}. */
    public void observeRtt(double seconds) {
        keep(trips, Math.max(seconds, 1e-5));
    }

    /**
     * An upload was answered.
     *
     * @param sizes bytes of each frame
     * @param arrivals seconds from the arrival of the first frame to that of each, as the server saw it
     * @param network seconds from sending to the answer, without the server's own time
     * @param answer bytes of the answer
     */
    public void observeAnswer(int[] sizes, double[] arrivals, double network, double answer, double now) {
        double total = 0;
        for (int size : sizes) {
            total += size;
        }
        double rtt = roundTrip();
        double expected = expected(total, answer, now);
        double down = answer * 8 * download(now);
        double last = arrivals.length == 0 ? 0 : arrivals[arrivals.length - 1];
        if (sizes.length == arrivals.length && total - sizes[0] > PACKET && last > 0) {
            observeSpacing(total - sizes[0], last, now);
            double back = network - last - sizes[0] * 8 / Math.exp(uplink.mean());
            if (answer > PACKET) {
                keep(downloads, new Download(now, Math.max(0, back - rtt) / answer));
            }
            // Of what took longer, nobody knows whether it was the path or the download.
            if (answer <= PACKET || back < rtt) {
                observeRtt(back);
            }
        } else {
            // Too short to have a spacing: rate and round trip cannot be told apart, and guesses would feed each other.
            if (network < rtt) {
                observeRtt(network);
            }
            double beyond = network - rtt - down;
            if (beyond > Math.max(JITTER, 0.3 * rtt)) {
                observeUpload(total, beyond, now);
            }
        }
        judge(network, expected, now);
    }

    /**
     * {@code bytes} and something small behind them were there and the news of it back within {@code seconds}. That is
     * all that is known of an upload that was called off: the rate is at least that.
     */
    public void observeDelivery(double bytes, double seconds, double now) {
        double expected = expected(bytes, 0, now);
        double took = Math.max(seconds - roundTrip(), JITTER);
        if (bytes * 8 / took > Math.exp(uplink.mean())) {
            observeUpload(bytes, took, now);
        }
        judge(seconds, expected, now);
    }

    /**
     * Something was there after {@code seconds}: was that an outage? What left before the last outage was over met that
     * one, which counts once.
     */
    private void judge(double seconds, double expected, double now) {
        if (now - seconds >= restoredAt) {
            boolean stalled = seconds > LATE * expected + LATE_BY;
            observeOutcome(stalled, now);
            if (stalled) {
                restoredAt = now;
            }
        }
    }

    /** A request met an outage, or did not. */
    public void observeOutcome(boolean stalled, double now) {
        double share = stallShare(now);
        stall = share + STALL_WEIGHT * ((stalled ? 1 : 0) - share);
        stallAt = now;
    }

    private static <T> void keep(Deque<T> remembered, T sample) {
        if (remembered.size() == REMEMBERED) {
            remembered.remove();
        }
        remembered.add(sample);
    }

    /** When an answer came, and what a byte of it took. */
    private static final class Download {
        final double at;
        final double byteSeconds;

        Download(double at, double byteSeconds) {
            this.at = at;
            this.byteSeconds = byteSeconds;
        }
    }
}
