package dev.cutpoint.core.link;

import dev.cutpoint.core.error.InputException;
import java.util.Random;

/** Times of the link, in seconds. */
public final class LinkTimes {
    /** What a phone does well with. */
    public static final LinkTimes DEFAULT = new LinkTimes(5, 1, 8, 0.1, 10, 1);

    /** For connecting and the handshake. */
    public final double connect;
    /** Between probes of an idle link; they keep the belief about it fresh. */
    public final double probe;
    /** Without any sign of the server while an answer or a pong is due, after which the link is given up. */
    public final double silence;
    /** The longest wait before the first new attempt to connect … */
    public final double firstBackoff;
    /** … which doubles up to this. */
    public final double longestBackoff;
    /** Between attempts while requests want the link. */
    public final double eager;

    /**
     * @throws InputException if one of them is not above 0
     */
    public LinkTimes(
            double connect, double probe, double silence, double firstBackoff, double longestBackoff, double eager) {
        double shortest = Math.min(Math.min(connect, probe), Math.min(silence, eager));
        if (!(Math.min(shortest, Math.min(firstBackoff, longestBackoff)) > 0)) {
            throw new InputException("times of the link are above 0 seconds");
        }
        this.connect = connect;
        this.probe = probe;
        this.silence = silence;
        this.firstBackoff = firstBackoff;
        this.longestBackoff = longestBackoff;
        this.eager = eager;
    }

    /**
     * Seconds before attempt number {@code attempt} (0, 1, …): anything up to the back-off. A thousand phones that lost
     * one server must not come back at the same moment.
     */
    double delay(int attempt, Random random) {
        return random.nextDouble() * Math.min(longestBackoff, firstBackoff * Math.pow(2, Math.min(attempt, 30)));
    }
}
