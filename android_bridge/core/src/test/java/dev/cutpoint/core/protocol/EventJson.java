package dev.cutpoint.core.protocol;

import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.json.JsonWriter;
import dev.cutpoint.core.tensor.ElementType;
import dev.cutpoint.core.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Events as the recorded conversations have them. */
final class EventJson {
    private EventJson() {}

    /** An event that can be sent. */
    static Frame read(JsonObject json) {
        switch (json.string("kind")) {
            case "Hello":
                return new Frame.Hello(
                        json.int32s("versions"),
                        json.string("bundle"),
                        json.string("token"),
                        json.string("client"),
                        json.string("device"));
            case "Welcome":
                JsonObject limits = json.object("limits");
                return new Frame.Welcome(
                        json.int32("version"),
                        json.string("server"),
                        json.string("bundle"),
                        new Frame.Limits(limits.int32("frame"), limits.int32("in_flight")),
                        state(json));
            case "Request":
                return new Frame.Request(
                        json.integer("request_id"),
                        json.int32("point"),
                        bytes(json.string("payload")),
                        json.number("budget"));
            case "Result":
                List<Tensor> outputs = new ArrayList<>();
                for (JsonObject tensor : json.objects("outputs", false)) {
                    ByteBuffer values = ByteBuffer.wrap(bytes(tensor.string("values")));
                    outputs.add(Tensor.of(ElementType.of(tensor.string("dtype")), values, tensor.int32s("shape")));
                }
                double[] timings = json.numbers("timings", 3);
                double[] arrivals = json.numbers("arrivals");
                return new Frame.Result(
                        json.integer("request_id"), outputs, timings[0], timings[1], timings[2], state(json), arrivals);
            case "Error":
                return new Frame.Failure(
                        json.integer("request_id"),
                        json.string("code"),
                        json.string("message"),
                        json.has("retry_after") ? (Double) json.number("retry_after") : null);
            case "Cancel":
                return new Frame.Cancel(json.integer("request_id"));
            case "Ping":
                return new Frame.Ping(json.number("sent"), json.int32("padding"));
            case "Pong":
                return new Frame.Pong(json.number("sent"), json.number("received"), state(json));
            case "Goaway":
                return new Frame.Goaway(json.number("grace"));
            default:
                throw new IllegalArgumentException("not sent");
        }
    }

    /** What {@code event} says, in a form that equals {@link #text(JsonObject)} of the recording of the same. */
    static String text(Frame event) {
        JsonWriter out = new JsonWriter().begin('[').value(event.getClass().getSimpleName()).value(event.requestId);
        if (event instanceof Frame.Hello) {
            Frame.Hello hello = (Frame.Hello) event;
            for (int version : hello.versions) {
                out.value(version);
            }
            out.value(hello.bundle).value(hello.token).value(hello.client).value(hello.device);
        } else if (event instanceof Frame.Welcome) {
            Frame.Welcome welcome = (Frame.Welcome) event;
            out.value(welcome.version).value(welcome.server).value(welcome.bundle);
            out.value(welcome.limits.frame).value(welcome.limits.inFlight);
            state(out, welcome.state);
        } else if (event instanceof Frame.Request) {
            Frame.Request request = (Frame.Request) event;
            out.value(request.point).value(hex(request.payload)).value(request.budget);
            numbers(out, request.arrivals);
        } else if (event instanceof Frame.Result) {
            Frame.Result result = (Frame.Result) event;
            for (Tensor tensor : result.outputs) {
                byte[] values = new byte[tensor.bytes()];
                tensor.data().get(values);
                out.value(tensor.toString()).value(hex(values));
            }
            out.value(result.queueMs).value(result.decodeMs).value(result.tailMs);
            state(out, result.state);
            numbers(out, result.arrivals);
        } else if (event instanceof Frame.Failure) {
            Frame.Failure failure = (Frame.Failure) event;
            out.value(failure.code).value(failure.message).value(String.valueOf(failure.retryAfter));
        } else if (event instanceof Frame.Ping) {
            out.value(((Frame.Ping) event).sent).value(((Frame.Ping) event).padding);
        } else if (event instanceof Frame.Pong) {
            out.value(((Frame.Pong) event).sent).value(((Frame.Pong) event).received);
            state(out, ((Frame.Pong) event).state);
        } else if (event instanceof Frame.Goaway) {
            out.value(((Frame.Goaway) event).grace);
        }
        return new String(out.end(']').toBytes(), StandardCharsets.UTF_8);
    }

    /** The same of a recorded event. */
    static String text(JsonObject json) {
        switch (json.string("kind")) {
            case "Rejected":
                return "rejected " + json.integer("request_id") + " " + json.string("code");
            case "Request":
                return text(new Frame.Request(
                        json.integer("request_id"),
                        json.int32("point"),
                        bytes(json.string("payload")),
                        json.number("budget"),
                        json.numbers("arrivals")));
            default:
                return text(read(json));
        }
    }

    /** As {@link #text(Frame)}, also for what is never sent. */
    static String received(Frame event) {
        if (event instanceof Frame.Rejected) {
            return "rejected " + event.requestId + " " + ((Frame.Rejected) event).code;
        }
        return text(event);
    }

    static byte[] bytes(String hex) {
        byte[] bytes = new byte[hex.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
        }
        return bytes;
    }

    static String hex(byte[] bytes) {
        StringBuilder hex = new StringBuilder();
        for (byte b : bytes) {
            hex.append(Character.forDigit(b >> 4 & 15, 16)).append(Character.forDigit(b & 15, 16));
        }
        return hex.toString();
    }

    private static ServerState state(JsonObject json) {
        JsonObject state = json.object("state");
        return new ServerState(
                state.number("queue_ms"),
                state.number("price"),
                state.bool("draining", false),
                state.bool("outdated", false));
    }

    private static void state(JsonWriter out, ServerState state) {
        out.value(state.queueMs).value(state.price).value(state.draining).value(state.outdated);
    }

    private static void numbers(JsonWriter out, double[] numbers) {
        for (double number : numbers) {
            out.value(number);
        }
    }
}
