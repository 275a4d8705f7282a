package dev.cutpoint.core.policy;

/** The device, as far as the app tells. */
public final class DeviceState {
    /** Nothing is known. */
    public static final DeviceState UNKNOWN = new DeviceState(null, null, false);

    /** °C of a processor that slows down soon, and charge that people begin to save. */
    private static final double HOT = 85;

    private static final double LOW = 0.2;

    /** Of the hottest sensor in °C; null where unknown. */
    public final Double temperature;
    /** Charge, 0 … 1; null where unknown. */
    public final Double battery;
    /** Whether it is plugged in. */
    public final boolean charging;

    public DeviceState(Double temperature, Double battery, boolean charging) {
        this.temperature = temperature;
        this.battery = battery;
        this.charging = charging;
    }

    /** Whether the device should be spared: hot, or with little charge left and not plugged in. */
    public boolean strained() {
        boolean hot = temperature != null && temperature > HOT;
        return hot || battery != null && battery < LOW && !charging;
    }
}
