package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.bundle.Point;
import dev.cutpoint.core.error.LinkException;
import dev.cutpoint.core.link.Link;
import dev.cutpoint.core.link.LinkTimes;
import dev.cutpoint.core.link.Loop;
import dev.cutpoint.core.policy.ChannelEstimator;
import dev.cutpoint.core.policy.Conditions;
import dev.cutpoint.core.policy.Objective;
import dev.cutpoint.core.policy.Policy;
import dev.cutpoint.core.protocol.Frame;
import dev.cutpoint.core.protocol.ServerState;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.concurrent.Executor;

/** What the requests of one client share. Mutable state is the loop's. */
final class Engine {
    final Loop loop;
    final Executor callbacks;
    final Bundle bundle;
    /** Frees what was made for this client alone. */
    private final Runnable release;
    final Mode mode;
    final Objective objective;
    final LinkTimes times;
    final Device device;
    final ChannelEstimator estimator;
    final Policy policy;
    /** Chooses among the local points. */
    final Policy fallback;
    /** Null in mode {@link Mode#DEVICE}. */
    final Link link;
    private final Set<Inference> underWay = new LinkedHashSet<>();
    private double serverScale = 1;
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
            ChannelEstimator estimator,
            Policy policy,
            Policy fallback,
            Link link) {
        this.loop = loop;
        this.callbacks = callbacks;
        this.bundle = bundle;
        this.release = release;
        this.mode = mode;
        this.objective = objective;
        this.times = times;
        this.device = device;
        this.estimator = estimator;
        this.policy = policy;
        this.fallback = fallback;
        this.link = link;
    }

    /** What a decision made now would depend on. */
    Conditions conditions() {
        boolean connected = link != null && link.up();
        return new Conditions(
                connected ? estimator.channel() : null,
                link == null ? ServerState.IDLE : link.server(),
                device.scale(),
                serverScale);
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
