package dev.cutpoint.core.policy;

/**
 * Belief about one rate: a scalar Kalman filter over its natural logarithm. Rates are believed to be log-normal; a
 * sample is off by a variance that is learned.
 */
final class LogRate {
    /** Variance of the rate's logarithm that a second adds, and the most there can be. */
    private static final double DRIFT = 0.2;

    private static final double MOST_VARIANCE = 1.5;
    /** Variance of a sample to begin with, and the least and most of it. */
    private static final double FIRST_NOISE = 0.1;

    private static final double LEAST_NOISE = 0.01;
    private static final double MOST_NOISE = 1;
    /** Weight of a new sample in the noise. */
    private static final double NOISE_WEIGHT = 0.1;
    /** A sample this many standard deviations off is no noise: the link has changed. */
    private static final double CHANGE = 3;

    private double mean;
    private double variance = 1;
    private double noise = FIRST_NOISE;
    private double seenAt = Double.NEGATIVE_INFINITY;
    private double at;
    private boolean seen;

    LogRate(double rate) {
        mean = Math.log(rate);
    }

    /** Natural logarithm of the rate. */
    double mean() {
        return mean;
    }

    /** When a sample that counts for something last came; seconds. */
    double seenAt() {
        return seenAt;
    }

    /** Begins anew at {@code rate}, unsure of it. */
    void expect(double rate) {
        mean = Math.log(rate);
        variance = 1;
        seen = false;
    }

    /** Variance of the mean's logarithm: silence makes unsure. */
    private double varianceAt(double now) {
        return Math.min(MOST_VARIANCE, variance + DRIFT * Math.max(0, now - at));
    }

    /** Standard deviation of the next sample. */
    double spread(double now) {
        return Math.sqrt(varianceAt(now) + noise);
    }

    /** A sample in bit/s; {@code weight} of 1 counts in full, less makes it noisier. */
    void observe(double rate, double weight, double now) {
        double surprise = Math.log(Math.min(Channel.MAX_RATE, Math.max(Channel.MIN_RATE, rate))) - mean;
        double prior = varianceAt(now);
        double doubt = noise / Math.max(weight, 1e-3);
        if (!seen) {
            prior = MOST_VARIANCE / Math.max(1e-3, 1 - weight);
        } else if (surprise * surprise > CHANGE * CHANGE * (prior + doubt)) {
            prior = surprise * surprise;
        } else {
            double excess = weight * (surprise * surprise - prior - noise);
            noise = Math.min(MOST_NOISE, Math.max(LEAST_NOISE, noise + NOISE_WEIGHT * excess));
        }
        double gain = prior / (prior + doubt);
        mean += gain * surprise;
        variance = (1 - gain) * prior;
        at = now;
        seen = true;
        if (weight >= 0.5) {
            seenAt = now;
        }
    }
}
