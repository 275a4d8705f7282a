package dev.cutpoint.core.policy;

/** The link as the client believes it to be. */
public final class Channel {
    /** Fixed samples that stand for the belief: quantiles of what may be, the best case first, and an outage. */
    static final int SAMPLES = 8;
    /** Rates are kept within 1 kbit/s … 1 Gbit/s: beyond that the link is down, or never the bottleneck. */
    static final double MIN_RATE = 1e3;

    static final double MAX_RATE = 1e9;

    /** Quantiles of the standard normal at (i + ½) / 7 above the median, the farthest first. */
    private static final double[] QUANTILES = {1.46523, 0.79164, 0.36611};

    /** Samples that are no outage. */
    private static final int LIKELY = SAMPLES - 1;
    /** Seconds that an outage lasts, as far as plans are concerned: longer than any answer is worth waiting for. */
    private static final double OUTAGE = 2;

    /** Bit/s, in the middle of what may be. */
    public final double uplink;
    /** Seconds, for something small and back. */
    public final double rtt;
    /** Standard deviation of the uplink's natural logarithm: how far off {@link #uplink} tends to be. */
    public final double spread;
    /** Bit/s, in the middle of what may be. */
    public final double downlink;
    /** Seconds by which the round trip is longer, once in six times. */
    public final double rttSpread;
    /** Probability that a request meets an outage. */
    public final double stall;

    public Channel(double uplink, double rtt, double spread, double downlink, double rttSpread, double stall) {
        this.uplink = uplink;
        this.rtt = rtt;
        this.spread = spread;
        this.downlink = downlink;
        this.rttSpread = rttSpread;
        this.stall = stall;
    }

    /** Uplink of each sample, bit/s. */
    double[] uplinks() {
        double[] rates = new double[SAMPLES];
        for (int i = 0; i < QUANTILES.length; i++) {
            double step = Math.exp(spread * QUANTILES[i]);
            rates[i] = uplink * step;
            rates[LIKELY - 1 - i] = uplink / step;
        }
        rates[QUANTILES.length] = uplink;
        rates[LIKELY] = uplink;
        return rates;
    }

    /** Round-trip time of each sample, seconds. */
    double[] roundTrips() {
        double[] trips = new double[SAMPLES];
        for (int i = 0; i < QUANTILES.length; i++) {
            trips[i] = rtt;
            trips[LIKELY - 1 - i] = rtt + rttSpread * QUANTILES[i];
        }
        trips[QUANTILES.length] = rtt;
        trips[LIKELY] = rtt + OUTAGE;
        return trips;
    }

    /** Probability of each sample; they sum up to 1. */
    double[] probabilities() {
        double[] chances = new double[SAMPLES];
        for (int i = 0; i < LIKELY; i++) {
            chances[i] = (1 - stall) / LIKELY;
        }
        chances[LIKELY] = stall;
        return chances;
    }
}
