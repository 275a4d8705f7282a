package dev.cutpoint.core.link;

import dev.cutpoint.core.error.CutpointException;
import dev.cutpoint.core.error.LinkException;
import dev.cutpoint.core.error.ProtocolException;
import dev.cutpoint.core.error.RefusedException;
import dev.cutpoint.core.error.RemoteProtocolException;
import dev.cutpoint.core.policy.Channel;
import dev.cutpoint.core.protocol.Connection;
import dev.cutpoint.core.protocol.Frame;
import dev.cutpoint.core.protocol.ServerState;
import dev.cutpoint.core.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** One connection's life: greeting, requests, probes, end. For the loop's thread, but for the socket's callbacks. */
final class Session {
    /** Hears what the session comes to. */
    interface Owner {
        void welcomed();

        void stateChanged(ServerState state);

        void slotFree();

        /** It is over; exchanges that wait fail with {@code reason}. */
        void ended(CutpointException reason);
    }

    /** Share of a request's time that the way is believed to take, at most. */
    private static final double MOST_ON_WAY = 0.5;

    private final Loop loop;
    private final LinkTimes times;
    private final LinkMonitor monitor;
    private final Frame.Hello hello;
    private final Owner owner;
    private final Connection connection;
    private final Map<Long, Exchange> waiting = new HashMap<>();
    private Transport.Socket socket;
    private Loop.Timer timer;
    private volatile boolean up;
    private boolean ended;
    private double greetedAt;

    Session(Loop loop, LinkTimes times, LinkMonitor monitor, int frameLimit, Frame.Hello hello, Owner owner) {
        this.loop = loop;
        this.times = times;
        this.monitor = monitor;
        this.hello = hello;
        this.owner = owner;
        this.connection = Connection.client(frameLimit);
    }

    void open(Transport transport) {
        timer = loop.after(
                times.connect, () -> end(new LinkException("no welcome within " + times.connect + " s")));
        socket = transport.connect(Connection.SUBPROTOCOL, new Transport.Listener() {
            @Override
            public void opened() {
                loop.execute(Session.this::greet);
            }

            @Override
            public void message(byte[] data) {
                loop.execute(() -> receive(data));
            }

            @Override
            public void ended(String reason) {
                loop.execute(() -> end(new LinkException(reason)));
            }
        });
    }

    private void greet() {
        if (!ended) {
            greetedAt = loop.now();
            sendAll(hello);
        }
    }

    /** Whether requests can be sent. */
    boolean up() {
        return up;
    }

    /** Whether the server takes one more request now. */
    boolean hasSlot() {
        return up && connection.inFlight() < connection.limits().inFlight;
    }

    /** Requests that wait for an answer. */
    int inFlight() {
        return waiting.size();
    }

    void send(Exchange exchange) {
        long number = connection.nextId();
        List<byte[]> frames;
        try {
            double budget = exchange.budget - onWay(exchange);
            frames = connection.send(new Frame.Request(number, exchange.point, exchange.payload, budget));
        } catch (ProtocolException error) {
            exchange.reply.failed(error);
            return;
        }
        exchange.session = this;
        exchange.requestId = number;
        exchange.sizes = new int[frames.size()];
        for (int i = 0; i < exchange.sizes.length; i++) {
            exchange.sizes[i] = frames.get(i).length;
        }
        waiting.put(number, exchange);
        monitor.sent(number, exchange.sizes, exchange.serverSeconds, loop.now());
        write(frames);
    }

    /** Seconds of the budget that both ways are believed to need: a belief, so that some are left in any case. */
    private double onWay(Exchange exchange) {
        Channel channel = monitor.channel(loop.now());
        double way = channel.rtt + 8.0 * exchange.payload.length / channel.uplink;
        return Math.min(way, MOST_ON_WAY * exchange.budget);
    }

    void cancel(Exchange exchange) {
        if (waiting.remove(exchange.requestId) != null) {
            monitor.cancelled(exchange.requestId);
            sendAll(new Frame.Cancel(exchange.requestId));
        }
    }

    /** Ends the connection. Nothing is heard of it afterwards but {@link Owner#ended}, once. */
    void end(CutpointException reason) {
        if (ended) {
            return;
        }
        ended = true;
        up = false;
        timer.cancel();
        if (socket != null) {
            socket.close();
        }
        List<Exchange> left = new ArrayList<>(waiting.values());
        waiting.clear();
        monitor.reset();
        owner.ended(reason);
        for (Exchange exchange : left) {
            exchange.reply.failed(
                    reason instanceof RefusedException
                            ? reason
                            : new LinkException("the connection went away: " + reason.getMessage(), reason));
        }
    }

    // -- messages ----------------------------------------------------------------------------------------------------

    private void receive(byte[] data) {
        if (ended) {
            return;
        }
        double now = loop.now();
        try {
            Frame frame = connection.receive(data, now);
            monitor.heard(now);
            if (!up) {
                handleGreeting(frame, now);
            } else if (frame != null) {
                handle(frame, now);
            }
        } catch (ProtocolException | RefusedException error) {
            end(error);
        }
    }

    private void handleGreeting(Frame frame, double now) {
        if (frame instanceof Frame.Failure) {
            throw refusal((Frame.Failure) frame);
        }
        if (!(frame instanceof Frame.Welcome)) {
            throw new RemoteProtocolException("the server did not answer the hello with a welcome");
        }
        monitor.welcomed(now - greetedAt);
        timer.cancel();
        timer = loop.after(times.probe, this::probe);
        up = true;
        owner.stateChanged(((Frame.Welcome) frame).state);
        owner.welcomed();
    }

    private void handle(Frame frame, double now) {
        if (frame instanceof Frame.Result) {
            answered((Frame.Result) frame, now);
        } else if (frame instanceof Frame.Failure) {
            RefusedException error = refusal((Frame.Failure) frame);
            if (frame.requestId == 0) {
                throw error;
            }
            monitor.refused(frame.requestId, now);
            Exchange exchange = waiting.remove(frame.requestId);
            if (exchange != null) {
                exchange.reply.failed(error);
            }
            owner.slotFree();
        } else if (frame instanceof Frame.Ping) {
            sendAll(new Frame.Pong(((Frame.Ping) frame).sent, now, ServerState.IDLE));
        } else if (frame instanceof Frame.Pong) {
            Frame.Pong pong = (Frame.Pong) frame;
            owner.stateChanged(pong.state);
            monitor.pong(pong.sent, pong.received, now);
        } else if (frame instanceof Frame.Goaway) {
            owner.stateChanged(null);
        }
    }

    private void answered(Frame.Result result, double now) {
        owner.stateChanged(result.state);
        double size = 0;
        for (Tensor output : result.outputs) {
            size += output.bytes();
        }
        monitor.answered(result.requestId, result.arrivals, result.serverMs() / 1e3, size, now);
        Exchange exchange = waiting.remove(result.requestId);
        if (exchange != null) {
            exchange.reply.answered(result);
        }
        owner.slotFree();
    }

    private static RefusedException refusal(Frame.Failure failure) {
        return RefusedException.of(failure.code, failure.message, failure.retryAfter);
    }

    // -- the link's health -------------------------------------------------------------------------------------------

    /** Looks at the link now and then: gives it up when it is dead, measures it when it is idle. */
    private void probe() {
        if (ended) {
            return;
        }
        double now = loop.now();
        if (monitor.silent(now) > times.silence) {
            end(new LinkException("nothing heard from the server for " + times.silence + " s"));
            return;
        }
        timer = loop.after(monitor.rest(now), this::probe);
        if (monitor.wantsProbe(now)) {
            int padding = Math.min(monitor.padding(now), connection.mostPadding());
            monitor.probed(padding, now);
            sendAll(new Frame.Ping(now, 0));
            sendAll(new Frame.Ping(now, padding));
        }
    }

    private void sendAll(Frame frame) {
        try {
            write(connection.send(frame));
        } catch (ProtocolException error) {
            end(error);
        }
    }

    private void write(List<byte[]> frames) {
        for (byte[] frame : frames) {
            if (!ended && !socket.send(frame)) {
                end(new LinkException("the connection takes no more: it went away, or too much is queued"));
            }
        }
    }
}
