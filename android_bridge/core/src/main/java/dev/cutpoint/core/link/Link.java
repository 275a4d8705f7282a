package dev.cutpoint.core.link;

import dev.cutpoint.core.error.CutpointException;
import dev.cutpoint.core.error.LinkException;
import dev.cutpoint.core.error.RefusedException;
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
    private final LinkMonitor monitor;
    private final int frameLimit;
    private final LinkTimes times;
    private final Random random;
    private final Frame.Hello hello;
    private final Deque<Exchange> queue = new ArrayDeque<>();
    private final List<Runnable> tried = new ArrayList<>();
    private volatile Session session;
    private Loop.Timer retry;
    private int attempt;
    private double triedAt = Double.NEGATIVE_INFINITY;
    private boolean refusedLast;
    private boolean closed;
    private ServerState server = ServerState.IDLE;
    private volatile RefusedException refusal;

    /**
     * @param monitor told about everything that says something about the channel
     * @param frameLimit longest frame that a result may have, in bytes
     * @param bundleHash of the client's bundle
     * @param token bearer token; empty for none
     * @param client program and version, for the server's log
     * @param device name of the device, for the server's log
     */
    public Link(
            Loop loop,
            Transport transport,
            LinkMonitor monitor,
            int frameLimit,
            LinkTimes times,
            Random random,
            String bundleHash,
            String token,
            String client,
            String device) {
        this.loop = loop;
        this.transport = transport;
        this.monitor = monitor;
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
            retry = null;
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

    /** Somebody needs the link: if it is down, tries again soon (at most every {@link LinkTimes#eager} seconds). */
    public void wake() {
        if (retry != null && !refusedLast && loop.now() - triedAt >= times.eager) {
            retryNow();
        }
    }

    /** Gives the connection up, if there is one, and makes a new one: the old one's network is gone. */
    public void reconnect() {
        if (session != null) {
            session.end(new LinkException("the network changed"));
        }
        if (retry != null && !refusedLast) {
            retryNow();
        }
    }

    private void retryNow() {
        retry.cancel();
        connect();
    }

    /**
     * Asks the server. Without a connection the reply fails at once; where the server has no slot it waits for one.
     *
     * @param serverSeconds that the server will probably compute
     */
    public Exchange request(int point, byte[] payload, double budget, double serverSeconds, Reply reply) {
        Exchange exchange = new Exchange(this, point, payload, budget, serverSeconds, reply);
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
        retry = null;
        triedAt = loop.now();
        session = new Session(loop, times, monitor, frameLimit, hello, new Session.Owner() {
            @Override
            public void welcomed() {
                refusal = null;
                attempt = 0;
                attempted();
            }

            @Override
            public void stateChanged(ServerState state) {
                server = state != null ? state : new ServerState(server.queueMs, server.price, true, server.outdated);
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
        refusedLast = reason instanceof RefusedException;
        if (refusedLast) {
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
