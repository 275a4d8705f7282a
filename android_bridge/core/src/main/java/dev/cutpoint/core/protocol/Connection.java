package dev.cutpoint.core.protocol;

import dev.cutpoint.core.error.LocalProtocolException;
import dev.cutpoint.core.error.RemoteProtocolException;
import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntToLongFunction;

/** One end of a connection, without the socket. For one thread. */
public final class Connection {
    public static final int VERSION = 1;
    public static final String SUBPROTOCOL = "cutpoint.v" + VERSION;
    /** Frames of one request. Four arrival times pin down a rate; more only add headers and wake-ups. */
    private static final int MAX_FRAMES = 4;
    /** A payload is split into pieces no smaller than about one packet, which the link serialises anyway. */
    private static final int MIN_CHUNK = 1200;

    /** A request that is not done. */
    private static final class Exchange {
        RequestState state = RequestState.NEW;
        final Frame.Opening opening;
        final ByteArrayOutputStream pieces = new ByteArrayOutputStream();
        long received;
        double firstArrival;
        final List<Double> arrivals = new ArrayList<>();

        Exchange(Frame.Opening opening) {
            this.opening = opening;
        }
    }

    private final Role role;
    private final int frameLimit;
    private final IntToLongFunction maxPayload;
    private final Map<Long, Exchange> exchanges = new HashMap<>();
    private ConnectionState state = ConnectionState.START;
    private Frame.Limits limits = Frame.Limits.DEFAULT;
    private long lastId;

    /**
     * @param frameLimit longest frame accepted from the other side, in bytes
     * @param maxPayload server only: the most payload bytes of a point by its number, negative if there is no such
     *     point
     */
    public Connection(Role role, int frameLimit, IntToLongFunction maxPayload) {
        this.role = role;
        this.frameLimit = frameLimit;
        this.maxPayload = maxPayload;
    }

    /** A client's end. */
    public static Connection client(int frameLimit) {
        return new Connection(Role.CLIENT, frameLimit, point -> -1);
    }

    public ConnectionState state() {
        return state;
    }

    /** What the server accepts; the defaults before its welcome. */
    public Frame.Limits limits() {
        return limits;
    }

    /** The most padding that a ping may have. */
    public int mostPadding() {
        return limits.frame - FrameEncoder.HEADER_SIZE - Long.BYTES;
    }

    /** Number of requests that are not done. */
    public int inFlight() {
        return exchanges.size();
    }

    /** The id for the next request of a client. */
    public long nextId() {
        return lastId + 1;
    }

    /**
     * The messages to send for {@code event}, in order. A long request becomes several; others may go between them.
     *
     * @throws LocalProtocolException if the protocol does not allow it now. Nothing changes then
     */
    public List<byte[]> send(Frame event) {
        if (event instanceof Frame.Rejected) {
            throw new LocalProtocolException("Rejected is not sent; send a Failure");
        }
        List<Frame> frames =
                event instanceof Frame.Request ? split((Frame.Request) event) : Collections.singletonList(event);
        List<byte[]> encoded = new ArrayList<>(frames.size());
        for (Frame frame : frames) {
            byte[] data = FrameEncoder.encode(frame);
            if (role == Role.CLIENT && data.length > limits.frame) {
                throw new LocalProtocolException(
                        "a frame is longer than the server's limit of " + limits.frame + " bytes");
            }
            encoded.add(data);
        }
        for (Frame frame : frames) {
            if (!follow(frame, role)) {
                throw new LocalProtocolException(name(frame) + " is not allowed in state " + state);
            }
        }
        if (event instanceof Frame.Welcome) {
            limits = ((Frame.Welcome) event).limits;
        }
        return encoded;
    }

    private List<Frame> split(Frame.Request request) {
        if (request.requestId <= lastId) {
            throw new LocalProtocolException("request id " + request.requestId + " was used: the next is " + nextId());
        }
        if (exchanges.size() >= limits.inFlight) {
            throw new LocalProtocolException(exchanges.size() + " requests are in flight, which is the server's limit");
        }
        byte[] payload = request.payload;
        int room = limits.frame - FrameEncoder.HEADER_SIZE - FrameEncoder.OPENING_SIZE;
        int piece = Math.min(room, Math.max(MIN_CHUNK, (payload.length + MAX_FRAMES - 1) / MAX_FRAMES));
        if (piece < 1) {
            throw new LocalProtocolException("the server's limit of " + limits.frame + " bytes leaves no room");
        }
        List<Frame> frames = new ArrayList<>();
        frames.add(new Frame.Opening(
                request.requestId, request.point, request.budget, payload.length, piece(payload, 0, piece)));
        for (int offset = piece; offset < payload.length; offset += piece) {
            frames.add(new Frame.Chunk(request.requestId, offset, piece(payload, offset, piece)));
        }
        return frames;
    }

    private static byte[] piece(byte[] payload, int from, int length) {
        return Arrays.copyOfRange(payload, from, Math.min(payload.length, from + length));
    }

    /**
     * Takes one binary WebSocket message.
     *
     * @param now monotonic time in seconds, for arrival times
     * @return what the other side said; null while a request is incomplete, or for frames of requests that are done
     * @throws RemoteProtocolException if the other side broke the protocol
     */
    public Frame receive(byte[] data, double now) {
        if (data.length > frameLimit) {
            throw new RemoteProtocolException(
                    "a frame of " + data.length + " bytes arrived, over the limit of " + frameLimit, "too_large");
        }
        Frame frame = FrameDecoder.decode(data);
        boolean waiting = exchanges.containsKey(frame.requestId);
        if (frame instanceof Frame.Opening) {
            return receiveOpening((Frame.Opening) frame, now);
        }
        if (frame instanceof Frame.Chunk) {
            return receiveChunk((Frame.Chunk) frame, now);
        }
        if (frame instanceof Frame.Cancel && !waiting && frame.requestId <= lastId) {
            if (Rules.next(state, role.peer(), Rules.CANCEL) == null) {
                throw notAllowed(frame);
            }
            return null; // its answer crossed the cancellation
        }
        if ((frame instanceof Frame.Result || frame instanceof Frame.Failure) && frame.requestId != 0 && !waiting) {
            throw new RemoteProtocolException(
                    "an answer to request " + frame.requestId + ", which is not waiting for one");
        }
        require(frame);
        if (frame instanceof Frame.Welcome) {
            limits = ((Frame.Welcome) frame).limits;
        }
        return frame;
    }

    private void require(Frame frame) {
        if (!follow(frame, role.peer())) {
            throw notAllowed(frame);
        }
    }

    private RemoteProtocolException notAllowed(Frame frame) {
        return new RemoteProtocolException(name(frame) + " is not allowed in state " + state);
    }

    private Frame receiveOpening(Frame.Opening frame, double now) {
        if (frame.requestId <= lastId) {
            throw new RemoteProtocolException("request id " + frame.requestId + " does not rise");
        }
        require(frame);
        Frame.Rejected rejected = judge(frame);
        return rejected != null ? rejected : collect(exchanges.get(frame.requestId), frame.data, now);
    }

    private Frame.Rejected judge(Frame.Opening frame) {
        long limit = maxPayload.applyAsLong(frame.point);
        if (limit < 0) {
            return new Frame.Rejected(
                    frame.requestId, "unknown_point", "point " + frame.point + " is not one this server computes");
        }
        if (frame.size > limit) {
            return new Frame.Rejected(
                    frame.requestId,
                    "too_large",
                    "a payload of " + frame.size + " bytes; point " + frame.point + " has at most " + limit);
        }
        if (exchanges.size() > limits.inFlight) {
            return new Frame.Rejected(
                    frame.requestId, "overloaded", "more than " + limits.inFlight + " requests in flight");
        }
        if (frame.data.length > frame.size) {
            return new Frame.Rejected(frame.requestId, "bad_payload", "more payload than the request announces");
        }
        return null;
    }

    private Frame receiveChunk(Frame.Chunk frame, double now) {
        Exchange exchange = exchanges.get(frame.requestId);
        if (exchange == null) {
            if (frame.requestId > lastId) {
                throw new RemoteProtocolException(
                        "a chunk of request " + frame.requestId + ", which was not opened");
            }
            return null; // the request was refused or cancelled while its chunks were on the way
        }
        if (exchange.state == RequestState.CANCELLED) {
            return null;
        }
        long end = frame.offset + frame.data.length;
        if (frame.offset != exchange.received || end <= exchange.received || end > exchange.opening.size) {
            // What is left of the upload is of no use; only the refusal is still to be sent.
            exchange.pieces.reset();
            exchange.state = RequestState.WAITING;
            return new Frame.Rejected(
                    frame.requestId, "bad_payload", "a chunk at " + frame.offset + " does not follow the one before");
        }
        require(frame);
        return collect(exchange, frame.data, now);
    }

    private Frame collect(Exchange exchange, byte[] data, double now) {
        if (exchange.arrivals.isEmpty()) {
            exchange.firstArrival = now;
        }
        exchange.pieces.write(data, 0, data.length);
        exchange.received += data.length;
        exchange.arrivals.add(now - exchange.firstArrival);
        Frame.Opening opening = exchange.opening;
        if (exchange.received < opening.size) {
            return null;
        }
        double[] arrivals = new double[exchange.arrivals.size()];
        for (int i = 0; i < arrivals.length; i++) {
            arrivals[i] = exchange.arrivals.get(i);
        }
        byte[] payload = exchange.pieces.toByteArray();
        exchange.pieces.reset();
        return new Frame.Request(opening.requestId, opening.point, payload, opening.budget, arrivals);
    }

    /** Moves both state machines; false, and nothing moved, if a table does not have it. */
    private boolean follow(Frame frame, Role who) {
        boolean aboutRequest = frame.requestId != 0;
        int kind = frame.kind();
        ConnectionState next;
        if (aboutRequest && kind == Rules.FAILURE) {
            next = state == ConnectionState.OPEN || state == ConnectionState.DRAINING ? state : null;
        } else {
            next = Rules.next(state, who, kind);
        }
        if (next == null || !aboutRequest && kind >= Rules.OPENING && kind <= Rules.RESULT) {
            return false;
        }
        if (aboutRequest && !followRequest(frame, kind, who)) {
            return false;
        }
        state = next;
        return true;
    }

    private boolean followRequest(Frame frame, int kind, Role who) {
        Exchange exchange = exchanges.get(frame.requestId);
        if (exchange == null) {
            if (kind != Rules.OPENING) {
                return false;
            }
            exchange = new Exchange((Frame.Opening) frame);
        }
        boolean complete = true;
        if (kind == Rules.OPENING) {
            complete = ((Frame.Opening) frame).data.length >= exchange.opening.size;
        } else if (kind == Rules.CHUNK) {
            Frame.Chunk chunk = (Frame.Chunk) frame;
            complete = chunk.offset + chunk.data.length >= exchange.opening.size;
        }
        RequestState next = Rules.next(exchange.state, who, kind, complete);
        if (next == null) {
            return false;
        }
        exchange.state = next;
        if (kind == Rules.OPENING) {
            lastId = frame.requestId;
            exchanges.put(frame.requestId, exchange);
        }
        if (next == RequestState.DONE) {
            exchanges.remove(frame.requestId);
        }
        return true;
    }

    private static String name(Frame frame) {
        return frame.getClass().getSimpleName();
    }
}
