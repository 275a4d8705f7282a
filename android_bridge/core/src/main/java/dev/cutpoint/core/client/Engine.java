package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.bundle.Point;
import dev.cutpoint.core.error.LinkException;
import dev.cutpoint.core.link.Link;
import dev.cutpoint.core.link.LinkTimes;
import dev.cutpoint.core.link.LinkMonitor;
import dev.cutpoint.core.link.Loop;
import dev.cutpoint.core.policy.Conditions;
import dev.cutpoint.core.policy.DeviceState;
import dev.cutpoint.core.policy.Network;
import dev.cutpoint.core.policy.Objective;
import dev.cutpoint.core.policy.Policy;
import dev.cutpoint.core.policy.Radio;
import dev.cutpoint.core.protocol.Frame;
import dev.cutpoint.core.protocol.ServerState;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.concurrent.Executor;
import java.util.function.Supplier;
import java.util.logging.Level;
import java.util.logging.Logger;

/** What the requests of one client share. Mutable state is the loop's. */
final class Engine {
    private static final Logger LOG = Logger.getLogger("cutpoint");
    /** Seconds between looks at the device's state. */
    private static final double LOOK = 5;

    final Loop loop;
    final Executor callbacks;
    final Bundle bundle;
    /** Frees what was made for this client alone. */
    private final Runnable release;
    final Mode mode;
    final Objective objective;
    final LinkTimes times;
    final Device device;
    final LinkMonitor monitor;
    final Policy policy;
    /** The local point that steps in. */
    final Point fallback;
    /** Null in mode {@link Mode#DEVICE}. */
    final Link link;
    private final Set<Inference> underWay = new LinkedHashSet<>();
    private double serverScale = 1;
    private volatile DeviceState state = DeviceState.UNKNOWN;
    private Radio radio;
    private Loop.Timer look;
    private boolean closed;

    Engine(
            Loop loop,
            Executor callbacks,
            Bundle bundle,
            Runnable release,
            Mode mode,
            Objective objective,
            LinkTimes times,
            Device device,
            LinkMonitor monitor,
            Policy policy,
            Point fallback,
            Link link) {
        this.loop = loop;
        this.callbacks = callbacks;
        this.bundle = bundle;
        this.release = release;
        this.mode = mode;
        this.objective = objective;
        this.times = times;
        this.device = device;
        this.monitor = monitor;
        this.policy = policy;
        this.fallback = fallback;
        this.link = link;
    }

    /** What a decision made now would depend on. */
    Conditions conditions() {
        boolean connected = link != null && link.up();
        double now = loop.now();
        return new Conditions(
                connected ? monitor.channel(now) : null,
                link == null ? ServerState.IDLE : link.server(),
                device.scale(),
                serverScale,
                device.queueMs(),
                monitor.onTheWay(now),
                state,
                radio);
    }

    /** What was learned of the old network is forgotten, and a new connection is made. From any thread. */
    void networkChanged(Network network) {
        loop.execute(() -> {
            monitor.networkChanged(network);
            radio = network.radio;
            if (link != null && !closed) {
                link.reconnect();
            }
        });
    }

    /** Asks the app how the device is doing, now and every few seconds, where its code may run. */
    void watch(Supplier<DeviceState> source) {
        if (closed) {
            return;
        }
        callbacks.execute(() -> {
            try {
                state = source.get();
            } catch (RuntimeException error) { // not worth a request
                LOG.log(Level.WARNING, "the app could not tell the device's state", error);
            }
        });
        look = loop.after(LOOK, () -> watch(source));
    }

    /** Seconds that the server will probably compute for {@code point}. */
    double serverSeconds(Point point) {
        return (point.measured.decodeMs + point.measured.tailMs) * serverScale / 1e3;
    }

    /** Compares the server's time with what calibration measured. */
    void learnServer(Point point, Frame.Result result) {
        double expected = point.measured.tailMs + point.measured.decodeMs;
        if (expected > Device.MEASURABLE_MS) {
            serverScale += Device.SCALE_WEIGHT * ((result.tailMs + result.decodeMs) / expected - serverScale);
        }
    }

    /** Begins a request, unless the client is closed. From any thread. */
    void run(Inference inference, Runnable begin) {
        boolean taken = loop.execute(() -> {
            if (closed) {
                inference.fail(closedError());
            } else {
                underWay.add(inference);
                monitor.asked(loop.now());
                if (link != null) {
                    link.wake();
                }
                begin.run();
            }
        });
        if (!taken) {
            inference.refuse(closedError());
        }
    }

    void finished(Inference inference) {
        underWay.remove(inference);
    }

    private static LinkException closedError() {
        return new LinkException("the client is closed");
    }

    /** Ends what is under way, and frees everything. Does not wait. */
    void close() {
        loop.execute(() -> {
            if (closed) {
                return;
            }
            closed = true;
            if (look != null) {
                look.cancel();
            }
            new ArrayList<>(underWay).forEach(inference -> inference.fail(closedError()));
            if (link != null) {
                link.close();
            }
            device.close();
            release.run();
            loop.close();
        });
    }
}
