package dev.cutpoint.core.client;

import dev.cutpoint.core.protocol.Frame;

/** Where the time of a request went, in milliseconds. */
public final class Timing {
    /** From the call of {@code infer} to its answer. */
    public final double total;
    /** Picture to boundary 0. */
    public final double prepare;
    /** Head, or the whole model where the device answered. */
    public final double head;
    /** Codec, on the device. */
    public final double encode;
    /** Everything between the two machines: there, back, and their queues. */
    public final double network;
    /** Waiting for a worker of the server. */
    public final double queue;
    /** Codec, on the server. */
    public final double decode;
    /** Tail, on the server. */
    public final double tail;

    private Timing(double total, DeviceOutput output, double askedMs, Frame.Result result) {
        this.total = total;
        prepare = output.prepareMs;
        head = output.headMs;
        encode = output.encodeMs;
        network = result == null ? 0 : askedMs - result.serverMs();
        queue = result == null ? 0 : result.queueMs;
        decode = result == null ? 0 : result.decodeMs;
        tail = result == null ? 0 : result.tailMs;
    }

    static Timing onDevice(double total, DeviceOutput output) {
        return new Timing(total, output, 0, null);
    }

    /** {@code askedMs}: from asking the server to its answer. */
    static Timing onEdge(double total, DeviceOutput output, double askedMs, Frame.Result result) {
        return new Timing(total, output, askedMs, result);
    }
}
