package dev.cutpoint.core.policy;

import dev.cutpoint.core.bundle.Measurement;
import dev.cutpoint.core.bundle.Point;
import java.util.ArrayList;
import java.util.List;

/** Which points are worth a decision. */
public final class Selection {
    private Selection() {}

    /** The local points, or the others, in their order. */
    public static List<Point> only(List<Point> points, boolean local) {
        List<Point> kept = new ArrayList<>();
        for (Point point : points) {
            if (point.isLocal() == local) {
                kept.add(point);
            }
        }
        return kept;
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

    /** The points that no other of their kind (local, remote) beats in all that has a price, local ones first. */
    static List<Point> efficient(List<Point> points, boolean byMetric) {
        List<Point> kept = new ArrayList<>();
        for (boolean local : new boolean[] {true, false}) {
            List<Point> kind = only(points, local);
            for (int i = 0; i < kind.size(); i++) {
                boolean beaten = false;
                for (int j = 0; j < kind.size() && !beaten; j++) {
                    beaten = j != i && beats(costs(kind.get(j), byMetric), costs(kind.get(i), byMetric), j < i);
                }
                if (!beaten) {
                    kept.add(kind.get(i));
                }
            }
        }
        return kept;
    }

    /** Of equals the first stays. */
    private static boolean beats(double[] a, double[] b, boolean first) {
        boolean better = first;
        for (int i = 0; i < a.length; i++) {
            if (a[i] > b[i]) {
                return false;
            }
            better |= a[i] < b[i];
        }
        return better;
    }

    private static double[] costs(Point point, boolean byMetric) {
        Measurement measured = point.measured;
        double deviceMs = Predictor.deviceMs(measured);
        double energy = measured.energyMj == null ? deviceMs : measured.energyMj;
        double metric = byMetric ? -measured.metric : 0;
        return new double[] {deviceMs, measured.bytesMean, Predictor.serverMs(measured), energy, metric};
    }
}
