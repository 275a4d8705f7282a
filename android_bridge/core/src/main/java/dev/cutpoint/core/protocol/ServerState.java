package dev.cutpoint.core.protocol;

/** How the server is doing; rides on welcome, results and pongs. */
public final class ServerState {
    /** The state of a server that has nothing to do. */
    public static final ServerState IDLE = new ServerState(0, 0, false, false);

    /** How long a request that arrives now would wait for a worker, milliseconds. */
    public final double queueMs;
    /** Of a millisecond of tail time, in the policy's cost units. */
    public final double price;
    /** The server is going away and takes no new requests. */
    public final boolean draining;
    /** The connection's bundle has a successor, and will not be served for ever. */
    public final boolean outdated;

    public ServerState(double queueMs, double price, boolean draining, boolean outdated) {
        this.queueMs = queueMs;
        this.price = price;
        this.draining = draining;
        this.outdated = outdated;
    }
}
