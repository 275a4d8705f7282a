package dev.cutpoint.core.policy;

import dev.cutpoint.core.error.InputException;

/** A kind of network, and what it is like before anything was measured. */
public enum Network {
    /** A cable. */
    ETHERNET("ethernet", 100e6, 100e6, 0.005, Radio.ETHERNET),
    /** WLAN. */
    WIFI("wifi", 20e6, 40e6, 0.010, Radio.WIFI),
    /** 5G, in a low band. */
    NR("5g", 20e6, 100e6, 0.025, Radio.NR_LOW_BAND),
    /** 4G. */
    LTE("lte", 4e6, 20e6, 0.050, Radio.LTE),
    /** 3G. */
    UMTS("3g", 0.8e6, 3e6, 0.100, Radio.UMTS);

    /** As everywhere in cutpoint, for instance {@code 5g}. */
    public final String label;
    /** Bit/s. */
    public final double uplink;
    /** Bit/s. */
    public final double downlink;
    /** Seconds, for something small and back. */
    public final double rtt;
    /** What it costs. */
    public final Radio radio;

    Network(String label, double uplink, double downlink, double rtt, Radio radio) {
        this.label = label;
        this.uplink = uplink;
        this.downlink = downlink;
        this.rtt = rtt;
        this.radio = radio;
    }

    /** The kind of that label. Throws {@link InputException} if there is none. */
    public static Network of(String label) {
        for (Network network : values()) {
            if (network.label.equals(label)) {
                return network;
            }
        }
        throw new InputException("there is no kind of network '" + label + "'");
    }
}
