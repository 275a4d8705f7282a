package dev.cutpoint.core.link;

/** A request to the server, from waiting for its turn to its answer. For the loop's thread. */
public final class Exchange {
    final int point;
    final byte[] payload;
    final double budget;
    final double serverSeconds;
    final Reply reply;
    /** Bytes of each frame; null while it waits for its turn. */
    int[] sizes;
    long requestId;
    /** The connection it went out on; null while it waits for its turn. */
    Session session;

    private final Link link;

    Exchange(Link link, int point, byte[] payload, double budget, double serverSeconds, Reply reply) {
        this.link = link;
        this.point = point;
        this.payload = payload;
        this.budget = budget;
        this.serverSeconds = serverSeconds;
        this.reply = reply;
    }

    /** Bytes that went out for it, protocol included; known also of a request that fails. */
    public int bytesSent() {
        int sum = 0;
        for (int size : sizes == null ? new int[0] : sizes) {
            sum += size;
        }
        return sum;
    }

    /** The answer is no longer wanted: the server is told, and the reply hears nothing. */
    public void cancel() {
        link.cancel(this);
    }
}
