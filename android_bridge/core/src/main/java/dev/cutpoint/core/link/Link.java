package dev.cutpoint.core.link;

import dev.cutpoint.core.error.CutpointException;
import dev.cutpoint.core.error.LinkException;
import dev.cutpoint.core.error.RefusedException;
import dev.cutpoint.core.policy.ChannelEstimator;
import dev.cutpoint.core.protocol.Connection;
import dev.cutpoint.core.protocol.Frame;
import dev.cutpoint.core.protocol.ServerState;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import java.util.logging.Logger;

/** Keeps a connection to the server, and asks it. For the loop's thread, but for {@link #up} and {@link #refusal}. */
public final class Link {
    private static final Logger LOG = Logger.getLogger("cutpoint");

    private final Loop loop;
    private final Transport transport;
    private final ChannelEstimator estimator;
    private final int frameLimit;
    private final LinkTimes times;
    private final Random random;
    private final Frame.Hello hello;
    private final Deque<Exchange> queue = new ArrayDeque<>();
    private final List<Runnable> tried = new ArrayList<>();
    private volatile Session session;
    private Loop.Timer retry;
    private int attempt;
    private boolean closed;
    private ServerState server = ServerState.IDLE;
    private volatile RefusedException refusal;

    /**
     * @param estimator told about everything that says something about the channel
     * @param frameLimit longest frame that a result may have, in bytes
     * @param bundleHash of the client's bundle
     * @param token bearer token; empty for none
     * @param client program and version, for the server's log
     * @param device name of the device, for the server's log
     */
    public Link(
            Loop loop,
            Transport transport,
            ChannelEstimator estimator,
            int frameLimit,
            LinkTimes times,
            Random random,
            String bundleHash,
            String token,
            String client,
            String device) {
        this.loop = loop;
        this.transport = transport;
        this.estimator = estimator;
        this.frameLimit = frameLimit;
        this.times = times;
        this.random = random;
        this.hello = new Frame.Hello(new int[] {Connection.VERSION}, bundleHash, token, client, device);
    }

    /** Whether requests can be sent now. */
    public boolean up() {
        Session now = session;
        return now != null && now.up();
    }

    /** The server's last word about itself. */
    public ServerState server() {
        return server;
    }

    /** Why the server last refused the connection; null if it did not. */
    public RefusedException refusal() {
        return refusal;
    }

    /** Requests that wait for an answer or for their turn. */
    public int inFlight() {
        return queue.size() + (session == null ? 0 : session.inFlight());
    }

    /** Begins to connect; {@code tried} runs when the first attempt has succeeded or failed. */
    public void start(Runnable tried) {
        this.tried.add(tried);
        connect();
    }

    /** Closes the connection for good; requests that wait fail with {@link LinkException}. */
    public void close() {
        closed = true;
        if (retry != null) {
            retry.cancel();
        }
        if (session != null) {
            session.end(new LinkException("the client is closed"));
        }
    }

    /**
     * Runs {@code then} when the link is up, with null, or with the reason why it is not: the server's refusal where
     * trying again is pointless, a {@link LinkException} after {@code timeout} seconds.
     */
    public void whenUp(double timeout, Consumer<CutpointException> then) {
        new UpWaiter(then).begin(timeout);
    }

    /** Asks the server. Without a connection the reply fails at once; where the server has no slot it waits for one. */
    public Exchange request(int point, byte[] payload, double budget, Reply reply) {
        Exchange exchange = new Exchange(this, point, payload, budget, reply);
        if (!up()) {
            String why = refusal == null ? "" : ": " + refusal.getMessage();
            loop.execute(() -> reply.failed(new LinkException("no connection to the server" + why, refusal)));
        } else {
            queue.add(exchange);
            sendQueued();
        }
        return exchange;
    }

    void cancel(Exchange exchange) {
        if (exchange.session != null) {
            exchange.session.cancel(exchange);
        } else {
            queue.remove(exchange);
        }
    }

    private void sendQueued() {
        while (!queue.isEmpty() && session != null && session.hasSlot()) {
            session.send(queue.remove());
        }
    }

    private void connect() {
        session = new Session(loop, times, estimator, frameLimit, hello, new Session.Owner() {
            @Override
            public void welcomed() {
                refusal = null;
                attempt = 0;
                attempted();
            }

            @Override
            public void stateChanged(ServerState state) {
                server = state != null ? state : new ServerState(server.queueMs, server.price, true);
            }

            @Override
            public void slotFree() {
                sendQueued();
            }

            @Override
            public void ended(CutpointException reason) {
                down(reason);
            }
        });
        session.open(transport);
    }

    private void down(CutpointException reason) {
        session = null;
        double delay = times.delay(attempt++, random);
        if (reason instanceof RefusedException) {
            refusal = (RefusedException) reason;
            double retryAfter = refusal.retryAfter() == null ? 0 : refusal.retryAfter();
            delay = Math.max(delay, Math.max(retryAfter, refusal.refusal().isFatal() ? times.longestBackoff : 0));
        }
        if (!closed) {
            LOG.info("the link is down (" + reason.getMessage() + "); trying again in " + delay + " s");
            retry = loop.after(delay, this::connect);
        }
        List<Exchange> left = new ArrayList<>(queue);
        queue.clear();
        for (Exchange exchange : left) {
            exchange.reply.failed(new LinkException("the connection went away: " + reason.getMessage(), reason));
        }
        attempted();
    }

    private void attempted() {
        List<Runnable> told = new ArrayList<>(tried);
        tried.clear();
        told.forEach(Runnable::run);
    }

    /** Waits for the link to be up, across attempts. */
    private final class UpWaiter {
        private final Consumer<CutpointException> then;
        private Loop.Timer timer;
        private boolean done;

        UpWaiter(Consumer<CutpointException> then) {
            this.then = then;
        }

        void begin(double timeout) {
            timer = loop.after(
                    timeout,
                    () -> finish(new LinkException("no connection to the server within " + timeout + " s", refusal)));
            look();
        }

        private void look() {
            if (done) {
                return;
            }
            if (up()) {
                finish(null);
            } else if (refusal != null && refusal.refusal().isFatal()) {
                finish(refusal);
            } else if (closed) {
                finish(new LinkException("the client is closed"));
            } else {
                tried.add(this::look);
            }
        }

        private void finish(CutpointException error) {
            if (!done) {
                done = true;
                timer.cancel();
                then.accept(error);
            }
        }
    }
}
