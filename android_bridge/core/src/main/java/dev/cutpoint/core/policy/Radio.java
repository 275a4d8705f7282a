package dev.cutpoint.core.policy;

import dev.cutpoint.core.error.InputException;

/** Power of the radio while sending, above that of an idle phone: base + slope · rate. */
public enum Radio {
    /** Fit to the measurement artifact of Narayanan et al., SIGCOMM 2021; 2350 mW of idle phone subtracted. */
    LTE("lte", 2926 - 2350, 76.7),
    /** As {@link #LTE}. */
    NR_LOW_BAND("5g-low", 3199 - 2350, 32.2),
    /** As {@link #LTE}. */
    NR_MMWAVE("5g-mmwave", 5664 - 2350, 8.9),
    /** Huang et al., MobiSys 2012, table 4. */
    WIFI("wifi", 132.86, 283.17);

    /** As everywhere in cutpoint, for instance {@code 5g-low}. */
    public final String label;
    /** Milliwatt. */
    public final double baseMw;
    /** Milliwatt per Mbit/s of uplink rate. */
    public final double slopeMw;

    Radio(String label, double baseMw, double slopeMw) {
        this.label = label;
        this.baseMw = baseMw;
        this.slopeMw = slopeMw;
    }

    /** Milliwatt while sending at {@code rateMbps} Mbit/s. */
    public double powerMw(double rateMbps) {
        return baseMw + slopeMw * rateMbps;
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
