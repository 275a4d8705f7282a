package dev.cutpoint.core.policy;

/** Energy of one request, an estimate: compute power · compute time + radio power · time on the air. */
public final class EnergyModel {
    /** A middle-class phone's big core at full clock, milliwatt above idle. */
    public static final double DEFAULT_COMPUTE_MW = 2000;
    /** A phone on LTE. */
    public static final EnergyModel DEFAULT = new EnergyModel(Radio.LTE, DEFAULT_COMPUTE_MW);

    /** Of the link in use. */
    public final Radio radio;
    /** Milliwatt of one busy core above idle. */
    public final double computeMw;

    public EnergyModel(Radio radio, double computeMw) {
        this.radio = radio;
        this.computeMw = computeMw;
    }

    /** Millijoule of {@code deviceMs} milliseconds of computation. */
    public double computeMj(double deviceMs) {
        return computeMw * deviceMs / 1e3;
    }

    /**
     * Millijoule of one request.
     *
     * @param deviceMs milliseconds of computation on the device
     * @param bytes sent; 0 for none
     * @param uplink bit/s while sending
     * @param answer bytes received
     * @param downlink bit/s while receiving
     */
    public double requestMj(double deviceMs, double bytes, double uplink, double answer, double downlink) {
        return computeMj(deviceMs) + radio.sendMj(bytes, uplink) + radio.receiveMj(answer, downlink);
    }
}
