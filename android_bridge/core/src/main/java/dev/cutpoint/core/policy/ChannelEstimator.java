package dev.cutpoint.core.policy;

/**
 * What the client believes of the link, from what it saw: rate and round-trip time as moving averages. The rate's is
 * geometric, because rates spread over decades. No clock and no socket in here; for one thread.
 */
public final class ChannelEstimator {
    /** Bytes of payload in a packet, at most. */
    public static final int PACKET = 1460;

    /** Rates are kept within 1 kbit/s … 1 Gbit/s: beyond that the link is down, or never the bottleneck. */
    private static final double MIN_RATE = 1e3;

    private static final double MAX_RATE = 1e9;
    /** Seconds that event loops and schedulers add at random; differences below say nothing. */
    private static final double JITTER = 0.005;
    /** Weight of a new sample of a full-sized upload. Small uploads weigh less: their times are mostly jitter. */
    private static final double WEIGHT = 0.5;
    /** Bytes of an upload that counts in full: about one packet. */
    private static final double FULL_SAMPLE = 1200;
    /** Weight of a new sample in the variance, and the most it may add: one outage is not a habit. */
    private static final double SPREAD_WEIGHT = 0.15;

    private static final double MOST_SURPRISE = 4;

    private double logUplink = Math.log(5e6);
    private double rtt = 0.05;
    private double variance = 0.25;
    private boolean rateSeen;
    private boolean rttSeen;

    /** The present belief. */
    public Channel channel() {
        return new Channel(Math.exp(logUplink), rtt, Math.sqrt(variance));
    }

    /** {@code bytes} took {@code seconds} to arrive, apart from the way there. */
    public void observeUpload(double bytes, double seconds) {
        double rate = bytes * 8 / Math.max(seconds, 1e-9);
        double sample = Math.log(Math.min(MAX_RATE, Math.max(MIN_RATE, rate)));
        double surprise = sample - logUplink;
        double weight = rateSeen ? WEIGHT * Math.min(1, bytes / FULL_SAMPLE) : 1;
        if (rateSeen) {
            variance += SPREAD_WEIGHT * (Math.min(surprise * surprise, MOST_SURPRISE) - variance);
        }
        logUplink += weight * surprise;
        rateSeen = true;
    }

    /**
     * The last of {@code bytes} arrived {@code seconds} after the message before them did. Up to a packet of them may
     * have come together with that message; where nothing else remains, the arrivals say nothing of the rate.
     */
    public void observeSpacing(double bytes, double seconds) {
        if (bytes > PACKET && seconds > 0) {
            observeUpload(bytes - PACKET, seconds);
        }
    }

    /** Something small went there and back in {@code seconds}. */
    public void observeRtt(double seconds) {
        seconds = Math.max(seconds, 1e-5);
        // A shorter time is news of the path; a longer one may only be a queue, and counts less.
        double weight = !rttSeen ? 1 : seconds < rtt ? 0.5 : 0.2;
        rtt += weight * (seconds - rtt);
        rttSeen = true;
    }

    /**
     * An upload was answered.
     *
     * @param sizes bytes of each frame
     * @param arrivals seconds from the arrival of the first frame to that of each, as the server saw it
     * @param network seconds from sending to the answer, without the server's own time
     */
    public void observeAnswer(int[] sizes, double[] arrivals, double network) {
        double total = 0;
        for (int size : sizes) {
            total += size;
        }
        if (sizes.length == arrivals.length && total - sizes[0] > PACKET) {
            observeSpacing(total - sizes[0], arrivals[arrivals.length - 1]);
        } else if (network - rtt > Math.max(JITTER, 0.3 * rtt)) {
            // Too short to have a spacing, but it took longer than the empty path does.
            observeUpload(total, network - rtt);
        }
        observeRtt(network - total * 8 / Math.exp(logUplink));
    }

    /** {@code bytes} were not answered within {@code seconds}: the rate is at most that, whatever was believed. */
    public void observeLate(double bytes, double seconds) {
        double bound = Math.max(MIN_RATE, bytes * 8 / Math.max(seconds - rtt, 1e-3));
        logUplink = Math.min(logUplink, Math.log(bound));
        rateSeen = true;
    }
}
