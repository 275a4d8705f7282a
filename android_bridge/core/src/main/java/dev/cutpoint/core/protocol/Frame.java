package dev.cutpoint.core.protocol;

import dev.cutpoint.core.tensor.Tensor;
import java.util.Collections;
import java.util.List;

/** One WebSocket message, and what it says. All are immutable; times are seconds unless the name says otherwise. */
public abstract class Frame {
    /** The request it is about; 0 for the connection. */
    public final long requestId;

    Frame(long requestId) {
        this.requestId = requestId;
    }

    /** The kind as the first byte of a frame has it; 0 for what is never on the wire. */
    abstract int kind();

    /** Client → server, first. */
    public static final class Hello extends Frame {
        public final int[] versions;
        /** Hash of the bundle that the client holds. */
        public final String bundle;
        public final String token;
        /** Program and version, for the server's log. */
        public final String client;
        /** Name of the device, for the server's log. */
        public final String device;

        public Hello(int[] versions, String bundle, String token, String client, String device) {
            super(0);
            this.versions = versions;
            this.bundle = bundle;
            this.token = token;
            this.client = client;
            this.device = device;
        }

        @Override
        int kind() {
            return 1;
        }
    }

    /** Server → client, the answer to a hello. */
    public static final class Welcome extends Frame {
        public final int version;
        public final String server;
        public final String bundle;
        public final Limits limits;
        public final ServerState state;

        public Welcome(int version, String server, String bundle, Limits limits, ServerState state) {
            super(0);
            this.version = version;
            this.server = server;
            this.bundle = bundle;
            this.limits = limits;
            this.state = state;
        }

        @Override
        int kind() {
            return 2;
        }
    }

    /** What the server accepts on one connection. */
    public static final class Limits {
        public static final Limits DEFAULT = new Limits(1 << 20, 32);

        /** Bytes of the longest frame. */
        public final int frame;
        /** Requests that may wait for an answer at a time. */
        public final int inFlight;

        public Limits(int frame, int inFlight) {
            this.frame = frame;
            this.inFlight = inFlight;
        }
    }

    /** First frame of a request: what is to come, and the first bytes of the payload. */
    static final class Opening extends Frame {
        final int point;
        final double budget;
        final long size;
        final byte[] data;

        Opening(long requestId, int point, double budget, long size, byte[] data) {
            super(requestId);
            this.point = point;
            this.budget = budget;
            this.size = size;
            this.data = data;
        }

        @Override
        int kind() {
            return 3;
        }
    }

    /** A further frame of a request: bytes of the payload from {@code offset} on. */
    static final class Chunk extends Frame {
        final long offset;
        final byte[] data;

        Chunk(long requestId, long offset, byte[] data) {
            super(requestId);
            this.offset = offset;
            this.data = data;
        }

        @Override
        int kind() {
            return 4;
        }
    }

    /** Client → server: the answer is no longer wanted. */
    public static final class Cancel extends Frame {
        public Cancel(long requestId) {
            super(requestId);
        }

        @Override
        int kind() {
            return 5;
        }
    }

    /** Server → client. */
    public static final class Result extends Frame {
        public final List<Tensor> outputs;
        /** Waited for a worker, milliseconds. */
        public final double queueMs;
        public final double decodeMs;
        public final double tailMs;
        public final ServerState state;
        /** From the arrival of the request's first frame to that of each of its frames. */
        public final double[] arrivals;

        public Result(
                long requestId,
                List<Tensor> outputs,
                double queueMs,
                double decodeMs,
                double tailMs,
                ServerState state,
                double[] arrivals) {
            super(requestId);
            this.outputs = Collections.unmodifiableList(outputs);
            this.queueMs = queueMs;
            this.decodeMs = decodeMs;
            this.tailMs = tailMs;
            this.state = state;
            this.arrivals = arrivals;
        }

        /** All of the server's time on the request, milliseconds. */
        public double serverMs() {
            return queueMs + decodeMs + tailMs;
        }

        @Override
        int kind() {
            return 6;
        }
    }

    /** Server → client: a request failed, or with request id 0 the connection. */
    public static final class Failure extends Frame {
        public final String code;
        public final String message;
        /** After which trying again makes sense; null where it does not. */
        public final Double retryAfter;

        public Failure(long requestId, String code, String message, Double retryAfter) {
            super(requestId);
            this.code = code;
            this.message = message;
            this.retryAfter = retryAfter;
        }

        @Override
        int kind() {
            return 7;
        }
    }

    /** Either way. Padding makes it a probe of the link's rate. */
    public static final class Ping extends Frame {
        /** The sender's clock. */
        public final double sent;
        /** Bytes. */
        public final int padding;

        public Ping(double sent, int padding) {
            super(0);
            this.sent = sent;
            this.padding = padding;
        }

        @Override
        int kind() {
            return 8;
        }
    }

    /** The answer to a ping. */
    public static final class Pong extends Frame {
        /** The ping's. */
        public final double sent;
        /** The receiver's clock. */
        public final double received;
        public final ServerState state;

        public Pong(double sent, double received, ServerState state) {
            super(0);
            this.sent = sent;
            this.received = received;
            this.state = state;
        }

        @Override
        int kind() {
            return 9;
        }
    }

    /** Server → client: no new requests, please. */
    public static final class Goaway extends Frame {
        /** What requests in flight still get. */
        public final double grace;

        public Goaway(double grace) {
            super(0);
            this.grace = grace;
        }

        @Override
        int kind() {
            return 10;
        }
    }

    /** A whole request: sent as an opening and chunks, received when it is complete. */
    public static final class Request extends Frame {
        /** Number of the operating point in the manifest. */
        public final int point;
        public final byte[] payload;
        /** What is left for the answer; 0 for no limit. */
        public final double budget;
        /** Receiver only: from the arrival of the first frame to that of each frame. */
        public final double[] arrivals;

        public Request(long requestId, int point, byte[] payload, double budget, double... arrivals) {
            super(requestId);
            this.point = point;
            this.payload = payload;
            this.budget = budget;
            this.arrivals = arrivals;
        }

        @Override
        int kind() {
            return 0;
        }
    }

    /** Never on the wire: a request that arrived but breaks a rule. A server answers it with a {@link Failure}. */
    public static final class Rejected extends Frame {
        public final String code;
        public final String message;

        Rejected(long requestId, String code, String message) {
            super(requestId);
            this.code = code;
            this.message = message;
        }

        @Override
        int kind() {
            return 0;
        }
    }
}
