package dev.cutpoint.core.link;

import dev.cutpoint.core.policy.Channel;
import dev.cutpoint.core.policy.ChannelEstimator;
import dev.cutpoint.core.policy.Network;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Keeps account of what was sent and not answered, and tells the estimator what each answer says. All times are
 * seconds; {@code now} never goes back. No clock and no socket in here; for one thread.
 */
public final class LinkMonitor {
    /** Packets of a probe's padding, and the milliseconds for which fewer have to keep the link busy. */
    private static final int PACKETS = 3;

    private static final double PADDING_MS = 10;
    /** Where energy counts probes are that many times rarer, and while none leads to a request up to this many times. */
    private static final double THRIFT = 1.5;

    private static final double RAREST = 32;

    /** Without requests for the first time, a link is probed no more often than the second says; seconds. */
    private static final double IDLE = 10;

    private static final double IDLE_PROBE = 15;
    /** Looks for each probe of a link in use: the next is due a second after the news of the last, not after two. */
    private static final double LOOKS = 4;
    /** Bytes of a ping on the wire, roughly. */
    private static final double SMALL = 60;

    private final ChannelEstimator estimator = new ChannelEstimator();
    private final boolean thrifty;
    private final double probe;
    private double interval;
    private final Map<Long, Pending> pending = new LinkedHashMap<>();
    private double heardAt;
    private double askedAt = Double.NaN;
    private double probedAt = Double.NaN;
    private double probeBytes;
    private boolean probeAlone;
    private boolean halfProbed;
    private double firstSent;
    private double firstReceived;

    /**
     * @param probe seconds between probes of a link that has nothing to carry while requests come, answered by the
     *     device
     * @param thrifty whether energy matters more than time: then probes are smaller on slow links, and become rarer as
     *     long as none leads to a request
     */
    public LinkMonitor(double probe, boolean thrifty) {
        this.thrifty = thrifty;
        this.probe = thrifty ? THRIFT * probe : probe;
        interval = this.probe;
    }

    // -- the present -------------------------------------------------------------------------------------------------

    /** Bytes of requests that wait for an answer. */
    public double unanswered() {
        double bytes = 0;
        for (Pending each : pending.values()) {
            bytes += each.bytes();
        }
        return bytes;
    }

    /**
     * Bytes of them that have probably not arrived: at the believed rate, one request after the other. One whose answer
     * is overdue counts in full: who knows what the link does.
     */
    public double onTheWay(double now) {
        double byteSeconds = estimator.usualByteSeconds();
        double rtt = estimator.usualRtt();
        double left = 0;
        double free = Double.NEGATIVE_INFINITY;
        for (Pending each : pending.values()) {
            double bytes = each.bytes();
            free = Math.max(free, each.sentAt) + bytes * byteSeconds;
            boolean late = now > free + each.serverSeconds + rtt;
            left += late ? bytes : Math.min(bytes, Math.max(0, free - now) / byteSeconds);
        }
        return left;
    }

    /** The belief, in the light of what is late. */
    public Channel channel(double now) {
        double bytes = 0;
        double since = now;
        if (probing()) {
            bytes = 2 * SMALL + probeBytes;
            since = probedAt;
        }
        for (Pending each : pending.values()) {
            double due = each.sentAt + each.serverSeconds;
            if (due < since) {
                bytes = each.bytes();
                since = due;
            }
        }
        return estimator.channel(now, bytes, now - since);
    }

    /** Seconds for which something has been due and nothing at all has come. */
    double silent(double now) {
        double oldest = probing() ? probedAt : now;
        for (Pending each : pending.values()) {
            oldest = Math.min(oldest, each.sentAt);
        }
        return now - Math.max(oldest, heardAt);
    }

    /** Whether it is time for a probe: two pings back to back, the second one padded. */
    boolean wantsProbe(double now) {
        if (probing()) {
            return false;
        }
        boolean idle = idle(now);
        if (now - heardAt >= (idle ? IDLE_PROBE : interval)) {
            return true;
        }
        // Small uploads go through, but do not tell whether larger ones would.
        return !idle && pending.isEmpty() && now - estimator.ratedAt() >= interval;
    }

    /**
     * Bytes of a probe's second ping now: the rate shows in how far it comes behind the first. Whole packets, if energy
     * counts fewer on slow links: there they take long enough to be told from jitter.
     */
    int padding(double now) {
        double packets = PACKETS;
        if (thrifty) {
            packets = Math.min(packets, Math.ceil(PADDING_MS / 8e3 * channel(now).uplink / ChannelEstimator.PACKET));
        }
        return (int) packets * ChannelEstimator.PACKET;
    }

    /** Seconds after which to look again whether a probe is due, or the link silent. */
    double rest(double now) {
        return idle(now) ? probe : probe / LOOKS;
    }

    private boolean idle(double now) {
        return now - askedAt > IDLE;
    }

    private boolean probing() {
        return !Double.isNaN(probedAt);
    }

    // -- what happens ------------------------------------------------------------------------------------------------

    /** The network is another one now. */
    public void networkChanged(Network network) {
        estimator.networkChanged(network);
    }

    /** The app wants an answer, wherever it will come from: it is worth knowing what the link is like. */
    public void asked(double now) {
        askedAt = now;
    }

    /** The connection is gone, and with it what it owed. */
    void reset() {
        pending.clear();
        probedAt = Double.NaN;
        halfProbed = false;
    }

    /** The server answered the greeting within {@code seconds}. */
    void welcomed(double seconds) {
        estimator.observeRtt(seconds);
    }

    /** Anything at all came from the server. */
    void heard(double now) {
        heardAt = now;
    }

    /** Request {@code number} leaves in frames of {@code sizes} bytes; the server will probably compute that long. */
    void sent(long number, int[] sizes, double serverSeconds, double now) {
        pending.put(number, new Pending(sizes, now, serverSeconds));
        interval = probe;
    }

    /** Request {@code number} was called off; the server will confirm that, or its answer is on the way. */
    void cancelled(long number) {
        Pending called = pending.get(number);
        if (called != null) {
            called.cancelled = true;
        }
    }

    /**
     * The result of request {@code number} came.
     *
     * @param arrivals seconds from the arrival of its first frame to that of each
     * @param serverSeconds that the server took for it
     * @param answer bytes of the result
     */
    void answered(long number, double[] arrivals, double serverSeconds, double answer, double now) {
        Pending done = pending.remove(number);
        if (done != null) {
            estimator.observeAnswer(done.sizes, arrivals, now - done.sentAt - serverSeconds, answer, now);
        }
    }

    /** An error came instead of a result: all that was sent has arrived, or as good as that. */
    void refused(long number, double now) {
        Pending done = pending.remove(number);
        if (done != null && done.cancelled) {
            estimator.observeDelivery(done.bytes(), now - done.sentAt, now);
        }
    }

    /** Both pings of a probe leave, the second with {@code padding} bytes. */
    void probed(double padding, double now) {
        probedAt = now;
        probeBytes = padding;
        probeAlone = pending.isEmpty();
        if (thrifty) {
            interval = Math.min(2 * interval, RAREST * probe);
        }
    }

    /** A ping that left at {@code sent} was received at {@code received}, by the server's clock, and is answered. */
    void pong(double sent, double received, double now) {
        if (halfProbed && firstSent == sent) {
            halfProbed = false;
            // The packet pair of a probe. On an idle link the first ping left in a packet of its own.
            double spacing = received - firstReceived;
            if (!probeAlone) {
                estimator.observeSpacing(probeBytes, spacing, now);
            } else if (spacing > 0) {
                estimator.observeUpload(probeBytes + SMALL, spacing, now);
            }
            probedAt = Double.NaN;
        } else {
            halfProbed = true;
            firstSent = sent;
            firstReceived = received;
            if (probeAlone) { // a ping behind an upload says nothing of the empty path
                estimator.observeRtt(now - sent);
            }
        }
    }

    /** Something that the server will answer. */
    private static final class Pending {
        final int[] sizes;
        final double sentAt;
        final double serverSeconds;
        boolean cancelled;

        Pending(int[] sizes, double sentAt, double serverSeconds) {
            this.sizes = sizes;
            this.sentAt = sentAt;
            this.serverSeconds = serverSeconds;
        }

        double bytes() {
            double sum = 0;
            for (int size : sizes) {
                sum += size;
            }
            return sum;
        }
    }
}
