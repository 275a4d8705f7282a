package dev.cutpoint.core.protocol;

import dev.cutpoint.core.json.JsonWriter;
import dev.cutpoint.core.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.zip.CRC32;

/** Frames to bytes: a 16-byte header and a body, little endian. */
final class FrameEncoder {
    static final int HEADER_SIZE = 16;
    static final int OPENING_SIZE = 12;
    private static final int CHECKED_SIZE = 12;
    private static final int STATE_SIZE = 12;
    private static final int RESULT_SIZE = 16;

    private FrameEncoder() {}

    /** The bytes of one frame. */
    static byte[] encode(Frame frame) {
        if (frame instanceof Frame.Opening) {
            Frame.Opening opening = (Frame.Opening) frame;
            ByteBuffer body = body(OPENING_SIZE + opening.data.length);
            body.putShort((short) opening.point).putShort((short) 0);
            body.putInt(micros(opening.budget)).putInt((int) opening.size).put(opening.data);
            return finish(frame, body);
        }
        if (frame instanceof Frame.Chunk) {
            Frame.Chunk chunk = (Frame.Chunk) frame;
            return finish(frame, body(4 + chunk.data.length).putInt((int) chunk.offset).put(chunk.data));
        }
        if (frame instanceof Frame.Result) {
            return finish(frame, result((Frame.Result) frame));
        }
        if (frame instanceof Frame.Ping) {
            Frame.Ping ping = (Frame.Ping) frame;
            return finish(frame, body(8 + ping.padding).putLong(longMicros(ping.sent)));
        }
        if (frame instanceof Frame.Pong) {
            Frame.Pong pong = (Frame.Pong) frame;
            ByteBuffer body = body(16 + STATE_SIZE).putLong(longMicros(pong.sent)).putLong(longMicros(pong.received));
            putState(body, pong.state);
            return finish(frame, body);
        }
        if (frame instanceof Frame.Goaway) {
            return finish(frame, body(4).putInt((int) Math.rint(((Frame.Goaway) frame).grace * 1e3)));
        }
        byte[] json = json(frame);
        return finish(frame, body(json.length).put(json));
    }

    /** A frame's buffer, at the start of its body. */
    private static ByteBuffer body(int size) {
        ByteBuffer buffer = ByteBuffer.allocate(HEADER_SIZE + size).order(ByteOrder.LITTLE_ENDIAN);
        buffer.position(HEADER_SIZE);
        return buffer;
    }

    private static byte[] finish(Frame frame, ByteBuffer buffer) {
        byte[] bytes = buffer.array();
        buffer.put(0, (byte) frame.kind()).putInt(4, (int) frame.requestId).putInt(8, bytes.length - HEADER_SIZE);
        buffer.putInt(CHECKED_SIZE, checksum(bytes));
        return bytes;
    }

    /** CRC-32 of the header before it, and of the body. */
    static int checksum(byte[] frame) {
        CRC32 crc = new CRC32();
        crc.update(frame, 0, CHECKED_SIZE);
        crc.update(frame, HEADER_SIZE, frame.length - HEADER_SIZE);
        return (int) crc.getValue();
    }

    private static ByteBuffer result(Frame.Result result) {
        int size = STATE_SIZE + RESULT_SIZE + 4 * result.arrivals.length;
        for (Tensor tensor : result.outputs) {
            size += 4 + 4 * tensor.shape().length + tensor.bytes();
        }
        ByteBuffer body = body(size);
        putState(body, result.state);
        body.putInt(micros(result.queueMs / 1e3)).putInt(micros(result.decodeMs / 1e3));
        body.putInt(micros(result.tailMs / 1e3)).putShort((short) result.arrivals.length);
        body.put((byte) result.outputs.size()).put((byte) 0);
        for (double arrival : result.arrivals) {
            body.putInt(micros(arrival));
        }
        for (Tensor tensor : result.outputs) {
            int[] shape = tensor.shape();
            body.put((byte) tensor.type().ordinal()).put((byte) shape.length).putShort((short) 0);
            for (int side : shape) {
                body.putInt(side);
            }
        }
        // All values behind all shapes: a receiver checks every size before it takes memory.
        for (Tensor tensor : result.outputs) {
            body.put(tensor.data());
        }
        return body;
    }

    private static void putState(ByteBuffer body, ServerState state) {
        body.putInt(micros(state.queueMs / 1e3)).putFloat((float) state.price);
        body.putInt((state.draining ? 1 : 0) | (state.outdated ? 2 : 0));
    }

    private static byte[] json(Frame frame) {
        JsonWriter json = new JsonWriter().begin('{');
        if (frame instanceof Frame.Hello) {
            Frame.Hello hello = (Frame.Hello) frame;
            json.name("versions").begin('[');
            for (int version : hello.versions) {
                json.value(version);
            }
            json.end(']').name("bundle").value(hello.bundle).name("token").value(hello.token);
            json.name("client").value(hello.client).name("device").value(hello.device);
        } else if (frame instanceof Frame.Welcome) {
            Frame.Welcome welcome = (Frame.Welcome) frame;
            json.name("version").value(welcome.version).name("server").value(welcome.server);
            json.name("bundle").value(welcome.bundle).name("limits").begin('{');
            json.name("frame").value(welcome.limits.frame).name("in_flight").value(welcome.limits.inFlight);
            json.end('}').name("state").begin('{').name("queue_ms").value(welcome.state.queueMs);
            json.name("price").value(welcome.state.price).name("draining").value(welcome.state.draining);
            json.name("outdated").value(welcome.state.outdated).end('}');
        } else if (frame instanceof Frame.Failure) {
            Frame.Failure failure = (Frame.Failure) frame;
            json.name("code").value(failure.code).name("message").value(failure.message).name("retry_after_ms");
            if (failure.retryAfter == null) {
                json.value((String) null);
            } else {
                json.value((long) Math.rint(failure.retryAfter * 1e3));
            }
        } else {
            return new byte[0]; // a cancel
        }
        return json.end('}').toBytes();
    }

    /** Microseconds as an unsigned 32-bit number, held within its range. */
    private static int micros(double seconds) {
        return (int) (long) Math.min(4294967295.0, Math.max(0, Math.rint(seconds * 1e6)));
    }

    private static long longMicros(double seconds) {
        return (long) Math.rint(seconds * 1e6);
    }
}
