package dev.cutpoint.core.policy;

/** Power of the radio while sending, above that of an idle phone: base + slope · rate. */
public enum Radio {
    /** Fit to the measurement artifact of Narayanan et al., SIGCOMM 2021; 2350 mW of idle phone subtracted. */
    LTE(2926 - 2350, 76.7),
    /** As {@link #LTE}. */
    NR_LOW_BAND(3199 - 2350, 32.2),
    /** As {@link #LTE}. */
    NR_MMWAVE(5664 - 2350, 8.9),
    /** Huang et al., MobiSys 2012, table 4. */
    WIFI(132.86, 283.17);

    /** Milliwatt. */
    public final double baseMw;
    /** Milliwatt per Mbit/s of uplink rate. */
    public final double slopeMw;

    Radio(double baseMw, double slopeMw) {
        this.baseMw = baseMw;
        this.slopeMw = slopeMw;
    }

    /** Milliwatt while sending at {@code rateMbps} Mbit/s. */
    public double powerMw(double rateMbps) {
        return baseMw + slopeMw * rateMbps;
    }
}
