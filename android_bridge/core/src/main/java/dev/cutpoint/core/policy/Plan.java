package dev.cutpoint.core.policy;

import dev.cutpoint.core.bundle.Point;

/** The decision for one request. */
public final class Plan {
    /** The chosen point. */
    public final Point point;
    /** The latency that made it win, milliseconds. */
    public final double predictedMs;
    /** The part of it that is computed on the device, milliseconds. */
    public final double deviceMs;

    public Plan(Point point, double predictedMs, double deviceMs) {
        this.point = point;
        this.predictedMs = predictedMs;
        this.deviceMs = deviceMs;
    }
}
