package dev.cutpoint.core.policy;

import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.bundle.Point;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Least expected cost over the samples of the belief, the device's second answer included.
 *
 * <p>The channel's samples are a few cases with probabilities, an outage among them. At a remote point the device may
 * start on an answer of its own at some time s: then the latency is min(q, s + l) in a case in which the server takes q
 * and the device alone l, and the device works for min(q, s + l) - min(q, s) beside it. Both have a price; every point
 * is judged with the best s of a few: when its head is done (a race), the worst q that is no outage, and, where energy
 * has a price, the q of an outage. That is why no quantile of q has to stand for caution: what is late is answered by
 * the device.
 */
public final class AdaptivePolicy implements Policy {
    /** Cost of a missed deadline: above everything else. */
    private static final double MISSED = 1e6;
    /** The device's own work may take this much longer than predicted, where a deadline depends on it: a share, ms. */
    private static final double MARGIN = 1.1;

    private static final double MARGIN_MS = 3;
    /** How many times dearer energy and work in vain are on a device that should be spared. */
    private static final double STRAIN = 4;
    /** Races that can be saved up. */
    private static final double MOST_RACES = 10;
    /** Points that a plan tells about beside the chosen one. */
    private static final int RUNNERS_UP = 3;

    private final Objective objective;
    private final Predictor predictor;
    private final double uncut;
    /** Of a millisecond that the device works in vain. */
    private final double wastedPrice;
    /** Infinite without one. */
    private final double deadlineMs;

    private double races = MOST_RACES;
    /** Number of the last choice; -1 before the first. */
    private int last = -1;

    /**
     * @param points to choose from, above the accuracy floor
     * @param objective what is wanted
     * @param uncut task metric of the uncut model
     * @param energy of the device
     * @param answerBytes size of a result
     */
    public AdaptivePolicy(
            List<Point> points, Objective objective, double uncut, EnergyModel energy, double answerBytes) {
        this.objective = objective;
        this.uncut = uncut;
        predictor = new Predictor(worthwhile(points, objective), energy, answerBytes);
        wastedPrice =
                objective.hedgePrice * objective.latencyWeight + objective.energyWeight * energy.computeMj(1);
        deadlineMs = objective.deadline == null ? Double.POSITIVE_INFINITY : objective.deadline * 1e3;
    }

    /** The policy over {@code points} of {@code bundle}, above the accuracy floor. */
    public static AdaptivePolicy of(Bundle bundle, List<Point> points, Objective objective, EnergyModel energy) {
        double uncut = bundle.manifest().task.uncut;
        return new AdaptivePolicy(points, objective, uncut, energy, bundle.manifest().last().bytes());
    }

    private static List<Point> worthwhile(List<Point> points, Objective objective) {
        if (objective.cost == null) {
            return Selection.efficient(points, objective.lossWeight > 0);
        }
        List<Point> sorted = Selection.only(points, true);
        sorted.addAll(Selection.only(points, false));
        return sorted;
    }

    @Override
    public List<Point> points() {
        return predictor.points;
    }

    @Override
    public Plan choose(Conditions conditions) {
        Prediction prediction = predictor.predict(conditions);
        int count = prediction.deviceMs.length;
        if (count == 0) {
            // Nothing can be had: whoever insists on the server hears from it why.
            return new Plan(points().get(0), Double.POSITIVE_INFINITY, 0);
        }
        races = Math.min(MOST_RACES, races + objective.hedgeShare);
        double alone = alone(prediction, conditions);
        Way[][] ways = new Way[count][];
        double[] cost = new double[count];
        int best = 0;
        for (int i = 0; i < count; i++) {
            ways[i] = ways(i, prediction, conditions, alone);
            cost[i] = cost(i, prediction, Way.cheapest(ways[i]));
            if (cost[i] < cost[best]) {
                best = i;
            }
        }
        if (last >= 0 && last < count) {
            // The device's queue and a deadline that nothing meets are common to all: they make no difference larger.
            double common = objective.latencyWeight * conditions.deviceQueueMs;
            double worth = Math.abs(cost[best] - MISSED * Way.leastMissed(ways[best]) - common);
            if (cost[last] - cost[best] <= objective.hysteresis * worth) {
                best = last;
            }
        }
        last = best;
        if (best >= predictor.local && Way.cheapest(ways[best]).race) {
            races -= 1;
        }
        return plan(best, cost, prediction, ways);
    }

    /** Milliseconds that the device takes for an answer of its own; infinite where it can give none. */
    private double alone(Prediction prediction, Conditions conditions) {
        double least = Double.POSITIVE_INFINITY;
        for (int i = 0; i < predictor.local; i++) {
            least = Math.min(least, prediction.deviceMs[i]);
        }
        return least - conditions.deviceQueueMs;
    }

    /** A point as a race, where there may be one, and with a device that waits. */
    private Way[] ways(int point, Prediction prediction, Conditions conditions, double alone) {
        double sparing = conditions.device.strained() ? STRAIN : 1;
        double price = sparing * wastedPrice;
        double fixed = conditions.server.price * prediction.serverMs[point]
                + sparing * objective.energyWeight * prediction.energyMj[point]
                + objective.lossWeight * 100 * loss(point);
        double[] starts = starts(prediction.deviceMs[point], prediction.latencyMs[point], alone);
        boolean raced = predictor.local > 0 && races >= 1;
        Way[] ways = new Way[starts.length];
        for (int i = 0; i < ways.length; i++) {
            ways[i] = way(point, prediction, starts[i], raced && i == 0, alone, price, fixed);
        }
        return ways;
    }

    /** When the device may begin on an answer of its own: the race first, where there may be one. */
    private double[] starts(double done, double[] q, double alone) {
        if (predictor.local == 0) {
            return new double[] {Double.POSITIVE_INFINITY};
        }
        double late = q[Prediction.WORST];
        boolean due = deadlineMs < Double.POSITIVE_INFINITY;
        double latest = deadlineMs - MARGIN * alone - MARGIN_MS;
        // Where the device could not be in time either, hurrying it helps nobody.
        if (due && done <= latest) {
            late = Math.min(late, latest);
        }
        List<Double> starts = new ArrayList<>();
        if (races >= 1) {
            starts.add(done);
        }
        starts.add(late);
        if (objective.energyWeight > 0 && !due) {
            starts.add(q[Prediction.OUTAGE]);
        }
        return starts.stream().mapToDouble(Double::doubleValue).toArray();
    }

    private Way way(
            int point, Prediction prediction, double start, boolean race, double alone, double price, double fixed) {
        double[] q = prediction.latencyMs[point];
        double latency = 0;
        double begun = 0;
        double missed = 0;
        for (int i = 0; i < q.length; i++) {
            double chance = prediction.probabilities[i];
            double answered = Math.min(q[i], start + alone);
            latency += chance * answered;
            begun += chance * Math.min(q[i], start);
            missed += answered > deadlineMs ? chance : 0;
        }
        double wasted = latency - (race ? prediction.deviceMs[point] : begun);
        double late = Math.min(q[Prediction.WORST], start + alone);
        double cost = objective.latencyWeight * latency + price * wasted + fixed + MISSED * missed;
        return new Way(start, race, latency, late, wasted, missed, cost);
    }

    private double loss(int point) {
        return uncut - points().get(point).measured.metric;
    }

    /** By the weights, or the app's own cost with the hedge that the weights would choose. */
    private double cost(int point, Prediction prediction, Way way) {
        if (objective.cost == null) {
            return way.cost;
        }
        Forecast forecast = new Forecast(
                way.latencyMs,
                way.lateMs,
                energyMj(point, prediction, way),
                loss(point),
                prediction.serverMs[point],
                way.missed);
        return objective.cost.applyAsDouble(forecast) + MISSED * way.missed;
    }

    private double energyMj(int point, Prediction prediction, Way way) {
        return prediction.energyMj[point] + predictor.energy.computeMj(1) * way.wastedMs;
    }

    private Plan plan(int best, double[] cost, Prediction prediction, Way[][] ways) {
        List<Alternative> others = new ArrayList<>();
        for (int i = 0; i < cost.length; i++) {
            if (i != best) {
                Way way = Way.cheapest(ways[i]);
                Point point = points().get(i);
                others.add(new Alternative(point, cost[i], way.latencyMs, energyMj(i, prediction, way)));
            }
        }
        others.sort(Comparator.comparingDouble(other -> other.cost));
        Point point = points().get(best);
        Way way = Way.cheapest(ways[best]);
        return new Plan(
                point,
                way.latencyMs,
                prediction.deviceMs[best],
                energyMj(best, prediction, way),
                cost[best],
                point.isLocal() ? null : (Double) way.start,
                others.subList(0, Math.min(RUNNERS_UP, others.size())));
    }
}
