package dev.cutpoint.core.policy;

import dev.cutpoint.core.bundle.Measurement;
import dev.cutpoint.core.bundle.Point;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * Least predicted latency.
 *
 * <p>latency = (head + encode) · device scale + bytes · 8 / uplink + rtt + queue + (decode + tail) · server scale, with
 * the 95th percentile of the bytes and the cautious uplink, because it is the late answers that hurt.
 */
public final class LatencyPolicy implements Policy {
    /** Bytes that a request and its frames add to the payload on the wire. */
    private static final double OVERHEAD_BYTES = 120;

    private final List<Point> points;

    /**
     * @param points to choose from, at least one of them local
     */
    public LatencyPolicy(List<Point> points) {
        this.points = Collections.unmodifiableList(new ArrayList<>(points));
    }

    /**
     * The points whose task metric is at least {@code floor}; of the local ones always at least the most accurate. A
     * device that cannot reach the floor alone still answers alone when the link is gone: late is worse than less sure.
     */
    public static List<Point> admissible(List<Point> points, double floor) {
        List<Point> chosen = new ArrayList<>();
        Point best = null;
        boolean local = false;
        for (Point point : points) {
            if (point.measured.metric >= floor) {
                chosen.add(point);
                local |= point.isLocal();
            }
            if (point.isLocal() && (best == null || better(point.measured, best.measured))) {
                best = point;
            }
        }
        if (!local && best != null) {
            chosen.add(best);
        }
        return chosen;
    }

    private static boolean better(Measurement a, Measurement b) {
        return a.metric > b.metric || a.metric == b.metric && a.deviceMs < b.deviceMs;
    }

    @Override
    public List<Point> points() {
        return points;
    }

    @Override
    public Plan choose(Conditions conditions) {
        Point best = points.get(0);
        double least = Double.POSITIVE_INFINITY;
        for (Point point : points) {
            double latency = predictMs(point, conditions);
            if (latency < least) {
                least = latency;
                best = point;
            }
        }
        return new Plan(best, least, deviceMs(best.measured) * conditions.deviceScale);
    }

    /** Predicted latency of a point in milliseconds; infinite for what cannot be had now. */
    public static double predictMs(Point point, Conditions conditions) {
        Measurement measured = point.measured;
        double local = deviceMs(measured) * conditions.deviceScale;
        if (point.isLocal()) {
            return local;
        }
        Channel channel = conditions.channel;
        if (channel == null || conditions.server.draining) {
            return Double.POSITIVE_INFINITY;
        }
        double bits = (measured.bytesP95 + OVERHEAD_BYTES) * 8;
        double remote = bits / channel.cautiousUplink() * 1e3
                + channel.rtt * 1e3
                + conditions.server.queueMs
                + (measured.decodeMs + measured.tailMs) * conditions.serverScale;
        return local + remote;
    }

    private static double deviceMs(Measurement measured) {
        return measured.deviceMs + measured.encodeMs;
    }
}
