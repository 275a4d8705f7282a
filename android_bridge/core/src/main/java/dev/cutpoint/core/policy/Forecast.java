package dev.cutpoint.core.policy;

/** What a request would cost at a point. */
public final class Forecast {
    /** Expected latency, with the device stepping in where that pays; milliseconds. */
    public final double latencyMs;
    /** Latency in the worst case short of an outage, milliseconds. */
    public final double lateMs;
    /** Expected energy of the device, millijoule. */
    public final double energyMj;
    /** Task metric lost against the uncut model, 0 … 1. */
    public final double loss;
    /** Time that the server computes, milliseconds. */
    public final double serverMs;
    /** Probability that the deadline passes; 0 without one. */
    public final double missed;

    Forecast(double latencyMs, double lateMs, double energyMj, double loss, double serverMs, double missed) {
        this.latencyMs = latencyMs;
        this.lateMs = lateMs;
        this.energyMj = energyMj;
        this.loss = loss;
        this.serverMs = serverMs;
        this.missed = missed;
    }
}
