package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Boundary;
import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.bundle.Point;
import dev.cutpoint.core.error.CutpointException;
import dev.cutpoint.core.error.InputException;
import dev.cutpoint.core.link.Link;
import dev.cutpoint.core.link.LinkMonitor;
import dev.cutpoint.core.link.LinkTimes;
import dev.cutpoint.core.link.Loop;
import dev.cutpoint.core.link.OkHttpTransport;
import dev.cutpoint.core.link.ThreadLoop;
import dev.cutpoint.core.policy.AdaptivePolicy;
import dev.cutpoint.core.policy.DeviceState;
import dev.cutpoint.core.policy.EnergyModel;
import dev.cutpoint.core.policy.Objective;
import dev.cutpoint.core.policy.Policy;
import dev.cutpoint.core.policy.Selection;
import dev.cutpoint.core.runtime.HeadRuntime;
import dev.cutpoint.core.runtime.PictureEncoder;
import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.logging.Level;
import java.util.logging.Logger;
import okhttp3.OkHttpClient;

/**
 * Configures and opens a {@link CutpointClient}. A runtime is needed; the rest has defaults, or follows from the mode.
 */
public final class Builder {
    private static final Logger LOG = Logger.getLogger("cutpoint");
    /** Bytes that a result has beside its tensors; generous. */
    private static final int RESULT_OVERHEAD = 1 << 16;

    private String url;
    private Bundle bundle;
    private File bundleFile;
    private BundleStore store;
    private Objective objective = Objective.builder().build();
    private Mode mode = Mode.AUTO;
    private Policy policy;
    private EnergyModel energy = EnergyModel.DEFAULT;
    private Supplier<DeviceState> deviceState;
    private String token = "";
    private String deviceName = "";
    private OkHttpClient http;
    private final List<HeadRuntime> runtimes = new ArrayList<>();
    private PictureEncoder pictures;
    private LinkTimes times = LinkTimes.DEFAULT;

    Builder() {}

    /** The server, {@code ws://host:port} or {@code wss://…}; none to compute on the device only. */
    public Builder server(String url) {
        this.url = url;
        return this;
    }

    /** Bearer token for the server. */
    public Builder token(String token) {
        this.token = token;
        return this;
    }

    /** A bundle that is open already. The caller closes it after the client. */
    public Builder bundle(Bundle bundle) {
        this.bundle = bundle;
        return this;
    }

    /** A {@code .cutpoint} file or bundle folder. */
    public Builder bundle(File file) {
        this.bundleFile = file;
        return this;
    }

    /** Where the bundle that the server serves is kept, when no other is given. */
    public Builder store(BundleStore store) {
        this.store = store;
        return this;
    }

    /** What is wanted of an answer. */
    public Builder objective(Objective objective) {
        this.objective = objective;
        return this;
    }

    /** Who may answer. */
    public Builder mode(Mode mode) {
        this.mode = mode;
        return this;
    }

    /** Decides, instead of {@link AdaptivePolicy} over the points that the objective admits. */
    public Builder policy(Policy policy) {
        this.policy = policy;
        return this;
    }

    /** Of the device, for objectives in which energy has a price; a phone on LTE otherwise. */
    public Builder energy(EnergyModel energy) {
        this.energy = energy;
        return this;
    }

    /** Tells how the device is doing: asked every few seconds, where the client's callbacks run. */
    public Builder deviceState(Supplier<DeviceState> source) {
        this.deviceState = source;
        return this;
    }

    /** Runs graphs. Call it again for further runtimes; each graph runs on the first that can read one of its files. */
    public Builder runtime(HeadRuntime... runtimes) {
        this.runtimes.addAll(Arrays.asList(runtimes));
        return this;
    }

    /** Writes picture files, for the points that send the picture itself. */
    public Builder pictureEncoder(PictureEncoder encoder) {
        this.pictures = encoder;
        return this;
    }

    /** The app's own, with its certificates, proxies and threads; a new one otherwise. */
    public Builder okHttpClient(OkHttpClient client) {
        this.http = client;
        return this;
    }

    /** Name of the device, for the server's log. */
    public Builder deviceName(String name) {
        this.deviceName = name;
        return this;
    }

    /** Times of the link. */
    public Builder linkTimes(LinkTimes times) {
        this.times = times;
        return this;
    }

    /**
     * As {@link #open}, on a thread of its own.
     *
     * @return completes with the client, or with what {@link #open} throws
     */
    public CompletableFuture<CutpointClient> openAsync() {
        CompletableFuture<CutpointClient> opened = new CompletableFuture<>();
        Thread thread = new Thread(() -> {
            try {
                opened.complete(open());
            } catch (RuntimeException error) {
                opened.completeExceptionally(error);
            }
        }, "cutpoint-open");
        thread.setDaemon(true);
        thread.start();
        return opened;
    }

    /**
     * Loads the bundle, warms up the device's graphs and tries once to connect. Blocking: not for the main thread.
     *
     * @throws InputException for settings that do not go together
     * @throws dev.cutpoint.core.error.BundleException if the bundle is damaged
     * @throws dev.cutpoint.core.error.LinkException if the bundle cannot be fetched; in mode {@link Mode#EDGE} without
     *     a connection
     */
    public CutpointClient open() {
        need(!runtimes.isEmpty(), "give a runtime: ONNX Runtime or LiteRT");
        need(url != null || mode != Mode.EDGE, "mode EDGE needs a server");
        need(bundle != null || bundleFile != null || url != null && store != null,
                "give a bundle, or a server and a store to keep its bundle in");
        OkHttpClient client = http != null ? http : new OkHttpClient();
        OkHttpTransport transport =
                url == null || mode == Mode.DEVICE ? null : new OkHttpTransport(client, url, times.connect);
        Bundle loaded = bundle;
        if (loaded == null) {
            loaded = bundleFile != null ? Bundle.open(bundleFile) : store.fetchOrNewest(client, url, token);
        }
        return assemble(loaded, transport, releaser(loaded, client));
    }

    /** Closes what the app did not bring. */
    private Runnable releaser(Bundle loaded, OkHttpClient client) {
        boolean ownBundle = bundle == null;
        boolean ownHttp = http == null;
        return () -> {
            if (ownHttp) {
                client.dispatcher().executorService().shutdown();
                client.connectionPool().evictAll();
            }
            if (ownBundle) {
                try {
                    loaded.close();
                } catch (IOException error) {
                    LOG.log(Level.WARNING, "the bundle's file could not be closed", error);
                }
            }
        };
    }

    private CutpointClient assemble(Bundle bundle, OkHttpTransport transport, Runnable release) {
        Device device = new Device(bundle, runtimes, pictures);
        Loop loop = new ThreadLoop("cutpoint");
        Engine engine = null;
        try {
            List<Point> supported = device.supported();
            List<Point> chosen =
                    Selection.admissible(supported, objective.floor(bundle.manifest().task.uncut));
            List<Point> local = Selection.only(chosen, true);
            need(!local.isEmpty(), bundle + ": no runtime of this app can run the whole model");
            Point fallback = Collections.min(local, Comparator.comparingDouble(point -> point.measured.deviceMs));
            if (mode == Mode.DEVICE) {
                chosen = local;
            } else if (mode == Mode.EDGE) {
                chosen = Selection.only(chosen, false);
                need(!chosen.isEmpty(), "mode EDGE, but no point that uses the server meets the objective");
            }
            Policy decides = policy != null ? policy : AdaptivePolicy.of(bundle, chosen, objective, energy);
            List<Point> loads = new ArrayList<>(decides.points());
            loads.add(fallback);
            device.warmUp(loads, fallback);
            LinkMonitor monitor = new LinkMonitor(times.probe, objective.thrifty());
            Link link = transport == null ? null : link(loop, transport, monitor, bundle);
            engine = new Engine(
                    loop, callbacks(), bundle, release, mode, objective, times, device, monitor, decides,
                    fallback, link);
            CutpointClient client = new CutpointClient(engine);
            if (deviceState != null) {
                Engine watching = engine;
                loop.execute(() -> watching.watch(deviceState));
            }
            if (link != null) {
                connect(loop, link);
            }
            return client;
        } catch (RuntimeException error) {
            if (engine != null) {
                engine.close();
            } else {
                device.close();
                loop.close();
                release.run();
            }
            throw error;
        }
    }

    private Link link(Loop loop, OkHttpTransport transport, LinkMonitor monitor, Bundle bundle) {
        Boundary last = bundle.manifest().last();
        // A batch axis may have grown; text of an error comes on top.
        int frameLimit = (int) Math.min(Integer.MAX_VALUE, 2 * last.bytes() + RESULT_OVERHEAD);
        String program = "cutpoint-android/" + CutpointClient.VERSION;
        return new Link(
                loop, transport, monitor, frameLimit, times, new Random(), bundle.hash(), token, program, deviceName);
    }

    /** Waits for the first attempt, or in mode EDGE for the connection. */
    private void connect(Loop loop, Link link) {
        CompletableFuture<Void> tried = new CompletableFuture<>();
        loop.execute(() -> link.start(() -> tried.complete(null)));
        if (mode == Mode.EDGE) {
            CompletableFuture<Void> up = new CompletableFuture<>();
            loop.execute(() -> link.whenUp(times.connect, error -> {
                if (error != null) {
                    up.completeExceptionally(error);
                } else {
                    up.complete(null);
                }
            }));
            await(up);
        } else {
            await(tried);
        }
    }

    private static void await(CompletableFuture<Void> future) {
        try {
            future.get();
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            throw new CutpointException("interrupted while the client was opened", error);
        } catch (ExecutionException error) {
            throw (RuntimeException) error.getCause();
        }
    }

    /** One thread, in order, which ends when there is nothing to tell: the loop never runs an app's code. */
    private static ThreadPoolExecutor callbacks() {
        ThreadFactory threads = task -> {
            Thread thread = new Thread(task, "cutpoint-callbacks");
            thread.setDaemon(true);
            return thread;
        };
        ThreadPoolExecutor executor =
                new ThreadPoolExecutor(1, 1, 1, TimeUnit.SECONDS, new LinkedBlockingQueue<>(), threads);
        executor.allowCoreThreadTimeOut(true);
        return executor;
    }

    private static void need(boolean condition, String message) {
        if (!condition) {
            throw new InputException(message);
        }
    }
}
