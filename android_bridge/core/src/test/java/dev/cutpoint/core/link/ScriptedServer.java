package dev.cutpoint.core.link;

import dev.cutpoint.core.protocol.Connection;
import dev.cutpoint.core.protocol.Frame;
import dev.cutpoint.core.protocol.Role;
import dev.cutpoint.core.protocol.ServerState;
import dev.cutpoint.core.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** A transport whose other end is the protocol itself: the test says what the server says, and sees what it hears. */
public final class ScriptedServer implements Transport {
    /** What the server heard on the last connection. */
    public final List<Frame> heard = new ArrayList<>();
    /** How many connections were tried. */
    public int attempts;
    /** Whether the client closed the last connection. */
    public boolean closed;
    /** Whether the socket takes messages. */
    public boolean writable = true;

    private final ManualLoop loop;
    private final Frame.Limits limits;
    private Listener listener;
    private Connection connection;

    public ScriptedServer(ManualLoop loop, Frame.Limits limits) {
        this.loop = loop;
        this.limits = limits;
    }

    @Override
    public Socket connect(String subprotocol, Listener listener) {
        this.listener = listener;
        connection = new Connection(Role.SERVER, 1 << 20, point -> 1 << 20);
        heard.clear();
        attempts++;
        closed = false;
        return new Socket() {
            @Override
            public boolean send(byte[] message) {
                Frame frame = writable ? connection.receive(message, loop.now()) : null;
                if (frame != null) {
                    heard.add(frame);
                }
                return writable;
            }

            @Override
            public void close() {
                closed = true;
            }
        };
    }

    /** The connection opens, and the greeting is answered. */
    public void welcome() {
        listener.opened();
        loop.run();
        say(new Frame.Welcome(1, "test", "hash", limits, ServerState.IDLE));
    }

    public void open() {
        listener.opened();
        loop.run();
    }

    public void say(Frame frame) {
        connection.send(frame).forEach(listener::message);
        loop.run();
    }

    /** Bytes that need not be a frame. */
    public void say(byte[] message) {
        listener.message(message);
        loop.run();
    }

    /** Answers a request with one number. */
    public void answer(long requestId, float value) {
        List<Tensor> outputs = Collections.singletonList(Tensor.ofFloats(new float[] {value}, 1, 1));
        say(new Frame.Result(requestId, outputs, 1, 2, 3, ServerState.IDLE, new double[] {0}));
    }

    public void end(String reason) {
        listener.ended(reason);
        loop.run();
    }
}
