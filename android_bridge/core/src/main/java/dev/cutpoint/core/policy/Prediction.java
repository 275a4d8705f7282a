package dev.cutpoint.core.policy;

/** What a request would take now, at the points that can be had: all of them, or the local ones without a link. */
final class Prediction {
    /** Cases of the belief: the median, the worst that is no outage, and the outage. */
    static final int MIDDLE = 3;

    static final int WORST = 6;
    static final int OUTAGE = 7;

    /** Of the cases: the channel's samples, the best first and an outage last. */
    final double[] probabilities;
    /** Milliseconds: of every point, in every case. */
    final double[][] latencyMs;
    /** Until the device is done, of every point: queue, head and encoder. */
    final double[] deviceMs;
    /** Millijoule of computation and radio, of every point. */
    final double[] energyMj;
    /** Milliseconds of decoder and tail, of every point. */
    final double[] serverMs;

    Prediction(double[] probabilities, int points) {
        this.probabilities = probabilities;
        latencyMs = new double[points][probabilities.length];
        deviceMs = new double[points];
        energyMj = new double[points];
        serverMs = new double[points];
    }
}
