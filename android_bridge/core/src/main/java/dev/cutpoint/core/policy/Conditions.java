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
    /** Work that the device has before it gets to this request, milliseconds. */
    public final double deviceQueueMs;
    /** Bytes that are on the way already, and that this request's bytes have to wait for. */
    public final double unanswered;
    /** What the app says of the device. */
    public final DeviceState device;
    /** Of the network in use, where the app told; null for the energy model's own. */
    public final Radio radio;

    public Conditions(
            Channel channel,
            ServerState server,
            double deviceScale,
            double serverScale,
            double deviceQueueMs,
            double unanswered,
            DeviceState device,
            Radio radio) {
        this.channel = channel;
        this.server = server;
        this.deviceScale = deviceScale;
        this.serverScale = serverScale;
        this.deviceQueueMs = deviceQueueMs;
        this.unanswered = unanswered;
        this.device = device;
        this.radio = radio;
    }

    /** Whether the server takes requests. */
    boolean linked() {
        return channel != null && !server.draining;
    }
}
