package dev.cutpoint.core.policy;

/** The link as the client believes it to be. */
public final class Channel {
    /** Bit/s, in the middle of what may be. */
    public final double uplink;
    /** Seconds, for something small and back. */
    public final double rtt;
    /** Standard deviation of the uplink's natural logarithm: how far off {@link #uplink} tends to be. */
    public final double spread;

    public Channel(double uplink, double rtt, double spread) {
        this.uplink = uplink;
        this.rtt = rtt;
        this.spread = spread;
    }

    /** Bit/s that the uplink has in about five of six cases: one standard deviation below the middle. */
    public double cautiousUplink() {
        return uplink * Math.exp(-spread);
    }
}
