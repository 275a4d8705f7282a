package dev.cutpoint.core.protocol;

import dev.cutpoint.core.error.RemoteProtocolException;
import dev.cutpoint.core.json.JsonException;
import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.json.JsonReader;
import dev.cutpoint.core.tensor.ElementType;
import dev.cutpoint.core.tensor.Tensor;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Bytes to frames. */
final class FrameDecoder {
    private FrameDecoder() {}

    /**
     * The frame that {@code data} is, all of it.
     *
     * @throws RemoteProtocolException if it is not a frame; its code is {@code bad_payload} where only the checksum is
     *     wrong
     */
    static Frame decode(byte[] data) {
        int length = data.length - FrameEncoder.HEADER_SIZE;
        if (length < 0) {
            throw new RemoteProtocolException("a frame of " + data.length + " bytes is shorter than its header");
        }
        ByteBuffer in = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        int kind = in.get() & 0xFF;
        int flags = in.get() | in.getShort();
        long requestId = unsigned(in.getInt());
        if (unsigned(in.getInt()) != length) {
            throw new RemoteProtocolException("frame body has " + length + " bytes, the header says otherwise");
        }
        if (in.getInt() != FrameEncoder.checksum(data)) {
            throw new RemoteProtocolException(
                    "frame checksum is wrong: the bytes were damaged on the way", "bad_payload");
        }
        if (flags != 0) {
            throw new RemoteProtocolException("frame uses header bits that this version does not know");
        }
        try {
            return body(kind, requestId, in);
        } catch (BufferUnderflowException | JsonException | IllegalArgumentException error) {
            throw new RemoteProtocolException("frame of kind " + kind + " is malformed: " + error, error);
        }
    }

    private static Frame body(int kind, long requestId, ByteBuffer in) {
        switch (kind) {
            case 1:
                return hello(json(in));
            case 2:
                return welcome(json(in));
            case 3:
                return opening(requestId, in);
            case 4:
                return new Frame.Chunk(requestId, unsigned(in.getInt()), rest(in));
            case 5:
                return end(in, new Frame.Cancel(requestId));
            case 6:
                return result(requestId, in);
            case 7:
                return failure(requestId, json(in));
            case 8:
                return new Frame.Ping(seconds(in.getLong()), in.remaining());
            case 9:
                return end(in, new Frame.Pong(seconds(in.getLong()), seconds(in.getLong()), state(in)));
            case 10:
                return end(in, new Frame.Goaway(unsigned(in.getInt()) / 1e3));
            default:
                throw new IllegalArgumentException("no such kind");
        }
    }

    private static Frame opening(long requestId, ByteBuffer in) {
        int point = in.getShort() & 0xFFFF;
        in.getShort();
        double budget = unsigned(in.getInt()) / 1e6;
        return new Frame.Opening(requestId, point, budget, unsigned(in.getInt()), rest(in));
    }

    private static Frame result(long requestId, ByteBuffer in) {
        ServerState state = state(in);
        double queue = unsigned(in.getInt()) / 1e3;
        double decode = unsigned(in.getInt()) / 1e3;
        double tail = unsigned(in.getInt()) / 1e3;
        int arrivalCount = in.getShort() & 0xFFFF;
        int tensorCount = in.get() & 0xFF;
        need(in.get() == 0, "hops of tiers, which were not agreed on");
        need(4 * arrivalCount <= in.remaining(), "the arrivals are cut short");
        double[] arrivals = new double[arrivalCount];
        for (int i = 0; i < arrivals.length; i++) {
            arrivals[i] = unsigned(in.getInt()) / 1e6;
        }
        ElementType[] types = new ElementType[tensorCount];
        int[][] shapes = new int[tensorCount][];
        long total = 0;
        for (int i = 0; i < tensorCount; i++) {
            types[i] = ElementType.ofCode(in.get() & 0xFF);
            need(types[i] != null, "unknown element type");
            int sides = in.get() & 0xFF;
            in.getShort();
            need(4 * sides <= in.remaining(), "the shapes are cut short");
            shapes[i] = new int[sides];
            for (int k = 0; k < sides; k++) {
                long side = unsigned(in.getInt());
                need(side <= Integer.MAX_VALUE, "a side is too long");
                shapes[i][k] = (int) side;
            }
            total += bytes(types[i], shapes[i]);
            need(total <= Integer.MAX_VALUE, "the tensors are too large");
        }
        need(total == in.remaining(), "there are not as many values as the shapes say");
        List<Tensor> outputs = new ArrayList<>(tensorCount);
        for (int i = 0; i < tensorCount; i++) {
            ByteBuffer values = in.slice();
            values.limit((int) bytes(types[i], shapes[i]));
            in.position(in.position() + values.limit());
            outputs.add(Tensor.of(types[i], values, shapes[i]));
        }
        return new Frame.Result(requestId, outputs, queue, decode, tail, state, arrivals);
    }

    /** Size of a tensor in bytes; huge where it does not fit into 31 bits, never wrapped around. */
    private static long bytes(ElementType type, int[] shape) {
        long bytes = type.bytes();
        for (int side : shape) {
            if (side == 0) {
                return 0;
            }
        }
        for (int side : shape) {
            bytes = Math.min(bytes * side, 1L << 31);
        }
        return bytes;
    }

    private static Frame hello(JsonObject json) {
        return new Frame.Hello(
                json.int32s("versions"),
                json.string("bundle"),
                json.string("token", ""),
                json.string("client", ""),
                json.string("device", ""));
    }

    private static Frame welcome(JsonObject json) {
        Frame.Limits limits = Frame.Limits.DEFAULT;
        JsonObject given = json.objectOrNull("limits");
        if (given != null) {
            limits = new Frame.Limits(given.int32("frame", limits.frame), given.int32("in_flight", limits.inFlight));
        }
        ServerState state = ServerState.IDLE;
        given = json.objectOrNull("state");
        if (given != null) {
            state = new ServerState(
                    given.number("queue_ms", 0),
                    given.number("price", 0),
                    given.bool("draining", false),
                    given.bool("outdated", false));
        }
        return new Frame.Welcome(
                json.int32("version"), json.string("server"), json.string("bundle"), limits, state);
    }

    private static Frame failure(long requestId, JsonObject json) {
        Double retryAfter = json.has("retry_after_ms") ? (Double) (json.integer("retry_after_ms") / 1e3) : null;
        return new Frame.Failure(requestId, json.string("code"), json.string("message"), retryAfter);
    }

    private static JsonObject json(ByteBuffer in) {
        return new JsonObject(JsonReader.parse(rest(in)), "body");
    }

    private static ServerState state(ByteBuffer in) {
        double queueMs = unsigned(in.getInt()) / 1e3;
        double price = in.getFloat();
        int flags = in.getInt();
        return new ServerState(queueMs, price, (flags & 1) != 0, (flags & 2) != 0);
    }

    private static byte[] rest(ByteBuffer in) {
        return Arrays.copyOfRange(in.array(), in.position(), in.limit());
    }

    private static Frame end(ByteBuffer in, Frame frame) {
        need(!in.hasRemaining(), "bytes too many");
        return frame;
    }

    private static void need(boolean condition, String message) {
        if (!condition) {
            throw new IllegalArgumentException(message);
        }
    }

    private static long unsigned(int value) {
        return value & 0xFFFFFFFFL;
    }

    /** Unsigned 64-bit microseconds. */
    private static double seconds(long micros) {
        return (micros >= 0 ? micros : (micros >>> 1) * 2.0 + (micros & 1)) / 1e6;
    }
}
