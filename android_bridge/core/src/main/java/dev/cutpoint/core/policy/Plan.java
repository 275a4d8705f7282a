package dev.cutpoint.core.policy;

import dev.cutpoint.core.bundle.Point;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** The decision for one request. */
public final class Plan {
    /** The chosen point. */
    public final Point point;
    /** The expected latency, milliseconds. */
    public final double predictedMs;
    /** The part of it that is computed on the device, milliseconds. */
    public final double deviceMs;
    /** The expected energy of the device, millijoule. */
    public final double energyMj;
    /** What made it win; 0 for policies without one. */
    public final double cost;
    /**
     * Milliseconds from the request's start after which the device starts on an answer of its own if there is none by
     * then. Null to leave it to {@link Objective#patience}.
     */
    public final Double hedgeMs;
    /** The best points that were not chosen, the best first. */
    public final List<Alternative> runnersUp;

    /** A plan that says nothing of cost and hedge. */
    public Plan(Point point, double predictedMs, double deviceMs) {
        this(point, predictedMs, deviceMs, 0, 0, null, Collections.emptyList());
    }

    public Plan(
            Point point,
            double predictedMs,
            double deviceMs,
            double energyMj,
            double cost,
            Double hedgeMs,
            List<Alternative> runnersUp) {
        this.point = point;
        this.predictedMs = predictedMs;
        this.deviceMs = deviceMs;
        this.energyMj = energyMj;
        this.cost = cost;
        this.hedgeMs = hedgeMs;
        this.runnersUp = Collections.unmodifiableList(new ArrayList<>(runnersUp));
    }
}
