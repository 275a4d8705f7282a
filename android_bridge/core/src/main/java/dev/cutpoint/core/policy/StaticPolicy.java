package dev.cutpoint.core.policy;

import dev.cutpoint.core.bundle.Point;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/** Always the same point, or the fallback while there is no link and the point needs one. */
public final class StaticPolicy implements Policy {
    private final Point point;
    private final Policy chosen;
    private final Policy fallback;

    /**
     * @param point the point
     * @param fallback a local point
     */
    public StaticPolicy(Point point, Point fallback) {
        this.point = point;
        this.chosen = new LatencyPolicy(Collections.singletonList(point));
        this.fallback = new LatencyPolicy(Collections.singletonList(fallback));
    }

    @Override
    public List<Point> points() {
        return Arrays.asList(point, fallback.points().get(0));
    }

    @Override
    public Plan choose(Conditions conditions) {
        boolean linked = conditions.channel != null;
        return (linked || point.isLocal() ? chosen : fallback).choose(conditions);
    }
}
