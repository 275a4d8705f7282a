package dev.cutpoint.core.policy;

/** Energy of one request, an estimate: compute power · compute time + radio power · sending time. */
public final class EnergyModel {
    /** A middle-class phone's big core at full clock, milliwatt above idle. */
    public static final double DEFAULT_COMPUTE_MW = 2000;

    /** Of the link in use. */
    public final Radio radio;
    /** Milliwatt of one busy core above idle. */
    public final double computeMw;

    public EnergyModel(Radio radio, double computeMw) {
        this.radio = radio;
        this.computeMw = computeMw;
    }

    /**
     * Millijoule of one request.
     *
     * @param deviceMs milliseconds of computation on the device
     * @param bytes sent; 0 for none
     * @param uplink bit/s while sending
     */
    public double requestMj(double deviceMs, double bytes, double uplink) {
        double compute = computeMw * deviceMs / 1e3;
        return bytes <= 0 ? compute : compute + radio.powerMw(uplink / 1e6) * bytes * 8 / uplink;
    }
}
