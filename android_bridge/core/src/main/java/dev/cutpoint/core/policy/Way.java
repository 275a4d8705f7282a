package dev.cutpoint.core.policy;

/** A point, with one rule for when the device steps in. */
final class Way {
    /** Milliseconds after which the device begins on an answer of its own. */
    final double start;
    /** Whether that is when its head is done. */
    final boolean race;
    /** Expected latency, milliseconds. */
    final double latencyMs;
    /** Latency in the worst case that is no outage, milliseconds. */
    final double lateMs;
    /** Expected milliseconds that the device works beside the server. */
    final double wastedMs;
    /** Probability that the deadline passes. */
    final double missed;
    /** In the objective's units. */
    final double cost;

    Way(
            double start,
            boolean race,
            double latencyMs,
            double lateMs,
            double wastedMs,
            double missed,
            double cost) {
        this.start = start;
        this.race = race;
        this.latencyMs = latencyMs;
        this.lateMs = lateMs;
        this.wastedMs = wastedMs;
        this.missed = missed;
        this.cost = cost;
    }

    /** The first of those that cost least. */
    static Way cheapest(Way[] ways) {
        Way best = ways[0];
        for (Way way : ways) {
            if (way.cost < best.cost) {
                best = way;
            }
        }
        return best;
    }

    /** The least probability that the deadline passes. */
    static double leastMissed(Way[] ways) {
        double least = ways[0].missed;
        for (Way way : ways) {
            least = Math.min(least, way.missed);
        }
        return least;
    }
}
