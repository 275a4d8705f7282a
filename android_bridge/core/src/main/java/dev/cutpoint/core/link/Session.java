package dev.cutpoint.core.link;

import dev.cutpoint.core.error.CutpointException;
import dev.cutpoint.core.error.LinkException;
import dev.cutpoint.core.error.ProtocolException;
import dev.cutpoint.core.error.RefusedException;
import dev.cutpoint.core.error.RemoteProtocolException;
import dev.cutpoint.core.policy.ChannelEstimator;
import dev.cutpoint.core.protocol.Connection;
import dev.cutpoint.core.protocol.Frame;
import dev.cutpoint.core.protocol.ServerState;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** One connection's life: greeting, requests, probes, end. For the loop's thread, but for the socket's callbacks. */
final class Session {
    /** Padding of a probe's second ping: the rate shows in how far it comes behind the first. */
    private static final int PROBE_BYTES = 3 * ChannelEstimator.PACKET;

    /** Hears what the session comes to. */
    interface Owner {
        void welcomed();

        void stateChanged(ServerState state);

        void slotFree();

        /** It is over; exchanges that wait fail with {@code reason}. */
        void ended(CutpointException reason);
    }

    private final Loop loop;
    private final LinkTimes times;
    private final ChannelEstimator estimator;
    private final Frame.Hello hello;
    private final Owner owner;
    private final Connection connection;
    private final Map<Long, Exchange> waiting = new HashMap<>();
    private Transport.Socket socket;
    private Loop.Timer timer;
    private volatile boolean up;
    private boolean ended;
    private double greetedAt;
    private double heardAt;
    private double probedAt = Double.NaN;
    private Frame.Pong firstPong;

    Session(Loop loop, LinkTimes times, ChannelEstimator estimator, int frameLimit, Frame.Hello hello, Owner owner) {
        this.loop = loop;
        this.times = times;
        this.estimator = estimator;
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
            frames = connection.send(new Frame.Request(number, exchange.point, exchange.payload, exchange.budget));
        } catch (ProtocolException error) {
            exchange.reply.failed(error);
            return;
        }
        exchange.session = this;
        exchange.requestId = number;
        exchange.sentAt = loop.now();
        exchange.sizes = new int[frames.size()];
        for (int i = 0; i < exchange.sizes.length; i++) {
            exchange.sizes[i] = frames.get(i).length;
        }
        waiting.put(number, exchange);
        write(frames);
    }

    void cancel(Exchange exchange) {
        if (waiting.remove(exchange.requestId) != null) {
            estimator.observeLate(exchange.bytesSent(), loop.now() - exchange.sentAt);
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
        heardAt = now;
        try {
            Frame frame = connection.receive(data, now);
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
        estimator.observeRtt(now - greetedAt);
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
            Exchange exchange = waiting.remove(frame.requestId);
            if (exchange != null) {
                exchange.reply.failed(error);
            }
            owner.slotFree();
        } else if (frame instanceof Frame.Ping) {
            sendAll(new Frame.Pong(((Frame.Ping) frame).sent, now, ServerState.IDLE));
        } else if (frame instanceof Frame.Pong) {
            ponged((Frame.Pong) frame, now);
        } else if (frame instanceof Frame.Goaway) {
            owner.stateChanged(null);
        }
    }

    private void answered(Frame.Result result, double now) {
        owner.stateChanged(result.state);
        Exchange exchange = waiting.remove(result.requestId);
        if (exchange != null) {
            double network = now - exchange.sentAt - result.serverMs() / 1e3;
            estimator.observeAnswer(exchange.sizes, result.arrivals, network);
            exchange.reply.answered(result);
        }
        owner.slotFree();
    }

    private void ponged(Frame.Pong pong, double now) {
        owner.stateChanged(pong.state);
        Frame.Pong first = firstPong;
        firstPong = null;
        if (first == null || first.sent != pong.sent) {
            firstPong = pong;
            if (waiting.isEmpty()) { // a ping behind an upload says nothing of the empty path
                estimator.observeRtt(now - pong.sent);
            }
        } else {
            // The packet pair of a probe: the padding is what lies between the two arrivals.
            estimator.observeSpacing(probeBytes(), pong.received - first.received);
            probedAt = Double.NaN;
        }
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
        double oldest = probedAt;
        for (Exchange exchange : waiting.values()) {
            oldest = Double.isNaN(oldest) ? exchange.sentAt : Math.min(oldest, exchange.sentAt);
        }
        if (now - Math.max(oldest, heardAt) > times.silence) {
            end(new LinkException("nothing heard from the server for " + times.silence + " s"));
            return;
        }
        timer = loop.after(times.probe, this::probe);
        if (Double.isNaN(probedAt) && now - heardAt >= times.probe / 2) {
            probedAt = now;
            sendAll(new Frame.Ping(now, 0));
            sendAll(new Frame.Ping(now, probeBytes()));
        }
    }

    private int probeBytes() {
        return Math.min(PROBE_BYTES, connection.mostPadding());
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
