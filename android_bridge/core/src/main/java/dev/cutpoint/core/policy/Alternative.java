package dev.cutpoint.core.policy;

import dev.cutpoint.core.bundle.Point;

/** A point that was not chosen, and what it would have cost. */
public final class Alternative {
    /** The point. */
    public final Point point;
    /** In the objective's units. */
    public final double cost;
    /** Expected, milliseconds. */
    public final double latencyMs;
    /** Expected, millijoule. */
    public final double energyMj;

    Alternative(Point point, double cost, double latencyMs, double energyMj) {
        this.point = point;
        this.cost = cost;
        this.latencyMs = latencyMs;
        this.energyMj = energyMj;
    }
}
