package dev.cutpoint.core.policy;

import dev.cutpoint.core.protocol.ServerState;

/** What a decision depends on. */
public final class Conditions {
    /** Belief about the link; null while there is no connection. */
    public final Channel channel;
    /** The server's last word about itself. */
    public final ServerState server;
    /** How many times slower than in calibration this device computes. */
    public final double deviceScale;
    /** The same for the server. */
    public final double serverScale;

    public Conditions(Channel channel, ServerState server, double deviceScale, double serverScale) {
        this.channel = channel;
        this.server = server;
        this.deviceScale = deviceScale;
        this.serverScale = serverScale;
    }
}
