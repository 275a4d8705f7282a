package dev.cutpoint.core.policy;

import dev.cutpoint.core.bundle.Point;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/** Always the same point, or the fallback while there is no link and the point needs one. */
public final class StaticPolicy implements Policy {
    /** Bytes of an answer, where nobody says. */
    private static final double ANSWER_BYTES = 4096;

    private final Point point;
    private final Point fallback;

    /**
     * @param point the point
     * @param fallback a local point
     */
    public StaticPolicy(Point point, Point fallback) {
        this.point = point;
        this.fallback = fallback;
    }

    @Override
    public List<Point> points() {
        return Arrays.asList(point, fallback);
    }

    @Override
    public Plan choose(Conditions conditions) {
        Point chosen = conditions.linked() || point.isLocal() ? point : fallback;
        if (!conditions.linked() && !chosen.isLocal()) {
            return new Plan(chosen, Double.POSITIVE_INFINITY, 0);
        }
        Prediction prediction =
                new Predictor(Collections.singletonList(chosen), EnergyModel.DEFAULT, ANSWER_BYTES).predict(conditions);
        return new Plan(chosen, prediction.latencyMs[0][Prediction.MIDDLE], prediction.deviceMs[0]);
    }
}
