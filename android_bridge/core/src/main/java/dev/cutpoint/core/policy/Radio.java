package dev.cutpoint.core.policy;

import dev.cutpoint.core.error.InputException;

/** Power of a radio at work, above that of an idle phone: base + slope · rate. */
public enum Radio {
    /** Fit to the measurement artifact of Narayanan et al., SIGCOMM 2021; 2350 mW of idle phone subtracted. */
    LTE("lte", 2926 - 2350, 76.7, 2839 - 2350, 11.5),
    /** As {@link #LTE}. */
    NR_LOW_BAND("5g-low", 3199 - 2350, 32.2, 3059 - 2350, 11.5),
    /** As {@link #LTE}. */
    NR_MMWAVE("5g-mmwave", 5664 - 2350, 8.9, 5237 - 2350, 1.73),
    /** Huang et al., MobiSys 2012, tables 3 and 4. */
    UMTS("3g", 817.88, 868.98, 817.88, 122.12),
    /** As {@link #UMTS}. */
    WIFI("wifi", 132.86, 283.17, 132.86, 137.01),
    /** Mains power. */
    ETHERNET("ethernet", 0, 0, 0, 0);

    /** As everywhere in cutpoint, for instance {@code 5g-low}. */
    public final String label;
    /** Milliwatt while sending. */
    public final double baseMw;
    /** Milliwatt per Mbit/s of uplink rate. */
    public final double slopeMw;
    /** Milliwatt while receiving. */
    public final double downBaseMw;
    /** Milliwatt per Mbit/s of downlink rate. */
    public final double downSlopeMw;

    Radio(String label, double baseMw, double slopeMw, double downBaseMw, double downSlopeMw) {
        this.label = label;
        this.baseMw = baseMw;
        this.slopeMw = slopeMw;
        this.downBaseMw = downBaseMw;
        this.downSlopeMw = downSlopeMw;
    }

    /**
     * Millijoule of sending {@code bytes} at {@code uplink} bit/s: base · t + slope · rate · t, where rate · t is the
     * size. What a slow link costs is the base.
     */
    public double sendMj(double bytes, double uplink) {
        return bytes * 8e-6 * (baseMw * 1e6 / uplink + slopeMw);
    }

    /** Millijoule of receiving {@code bytes} at {@code downlink} bit/s. */
    public double receiveMj(double bytes, double downlink) {
        return bytes * 8e-6 * (downBaseMw * 1e6 / downlink + downSlopeMw);
    }

    /** The radio of that label. Throws {@link InputException} if there is none. */
    public static Radio of(String label) {
        for (Radio radio : values()) {
            if (radio.label.equals(label)) {
                return radio;
            }
        }
        throw new InputException("there is no radio '" + label + "'");
    }
}
