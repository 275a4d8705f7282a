package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.bundle.Manifest;
import dev.cutpoint.core.bundle.Point;
import dev.cutpoint.core.codec.Codec;
import dev.cutpoint.core.runtime.HeadRuntime;
import dev.cutpoint.core.runtime.PictureEncoder;
import dev.cutpoint.core.tensor.Tensor;
import dev.cutpoint.core.tensor.TensorSpec;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.RejectedExecutionException;

/** The device's one worker thread: it prepares pictures and computes heads, and learns how fast it is. */
final class Device implements AutoCloseable {
    /** Weight of a new sample in the scales of device and server. */
    static final double SCALE_WEIGHT = 0.3;
    /** Milliseconds below which a time says more about the call than about the work. */
    static final double MEASURABLE_MS = 0.1;

    /** Hears what came of a computation, on the device's thread. */
    interface Outcome {
        void computed(DeviceOutput output);

        void failed(RuntimeException error);
    }

    private final Manifest manifest;
    private final BundleGraphs graphs;
    private final ExecutorService executor;
    /** Work that waits or runs, the oldest first; guarded by itself. */
    private final Deque<Job> jobs = new ArrayDeque<>();
    private volatile double scale = 1;

    Device(Bundle bundle, List<HeadRuntime> runtimes, PictureEncoder pictures) {
        manifest = bundle.manifest();
        graphs = new BundleGraphs(bundle, runtimes, pictures);
        executor = Executors.newSingleThreadExecutor(task -> {
            Thread thread = new Thread(task, "cutpoint-device");
            thread.setDaemon(true);
            return thread;
        });
    }

    /** How many times slower than in calibration this device computes. */
    double scale() {
        return scale;
    }

    /** Milliseconds of work that come before whatever is begun now, as far as one can tell. */
    double queueMs() {
        synchronized (jobs) {
            double sum = 0;
            for (Job job : jobs) {
                sum += job.leftMs();
            }
            return sum;
        }
    }

    /** The points that can run here. */
    List<Point> supported() {
        List<Point> points = new ArrayList<>();
        for (Point point : manifest.points) {
            if (graphs.supports(point)) {
                points.add(point);
            }
        }
        return points;
    }

    /**
     * Loads and runs once what {@code points} need, on zeros, and takes the device's speed from running {@code local},
     * so that no plan is a guess. Blocking; before anything is computed.
     */
    void warmUp(Collection<Point> points, Point local) {
        List<Tensor> zeros = new ArrayList<>();
        for (TensorSpec spec : manifest.boundaries.get(0).tensors) {
            zeros.add(Tensor.zeros(spec));
        }
        Set<String> ran = new HashSet<>();
        for (Point point : points) {
            if (ran.add(point.start + " " + point.precision + " " + point.codec)) {
                run(point, zeros, null, 0);
            }
        }
        double[] times = new double[3];
        for (int i = 0; i < times.length; i++) {
            times[i] = run(local, zeros, null, 0).headMs;
        }
        Arrays.sort(times);
        scale = times[1] / Math.max(local.measured.deviceMs, 1e-3);
    }

    /**
     * Computes the device's share of {@code point}.
     *
     * @param reference symbols of an earlier frame of the stream that the server has; null for none
     * @return cancelling it keeps it from starting; a computation that runs is not interrupted
     */
    Future<?> compute(Point point, Input input, List<Tensor> reference, Outcome outcome) {
        Job job = new Job(deviceMs(point) * scale, () -> measured(point, input, reference), outcome);
        synchronized (jobs) {
            jobs.add(job);
        }
        try {
            executor.execute(job);
            return job;
        } catch (RejectedExecutionException closed) {
            job.cancel(false);
            outcome.failed(new IllegalStateException("the client is closed", closed));
            return null;
        }
    }

    private DeviceOutput measured(Point point, Input input, List<Tensor> reference) {
        long began = System.nanoTime();
        List<Tensor> tensors = input.tensors(manifest);
        DeviceOutput output = run(point, tensors, reference, millisSince(began));
        double expected = deviceMs(point);
        if (expected > MEASURABLE_MS) {
            scale += SCALE_WEIGHT * ((output.headMs + output.encodeMs) / expected - scale);
        }
        return output;
    }

    private DeviceOutput run(Point point, List<Tensor> input, List<Tensor> reference, double prepareMs) {
        long began = System.nanoTime();
        List<Tensor> tensors = point.start == 0 ? input : graphs.head(point.start, point.precision).run(input);
        double headMs = point.start == 0 ? 0 : millisSince(began);
        if (point.isLocal()) {
            return new DeviceOutput(null, null, tensors, input, prepareMs, headMs, 0);
        }
        began = System.nanoTime();
        Codec.Encoded encoded = graphs.codec(point.codec).encode(tensors, point.level, reference);
        return new DeviceOutput(encoded.payload, encoded.symbols, null, input, prepareMs, headMs, millisSince(began));
    }

    private static double deviceMs(Point point) {
        return point.measured.deviceMs + point.measured.encodeMs;
    }

    private static double millisSince(long began) {
        return (System.nanoTime() - began) / 1e6;
    }

    /** Frees the graphs behind the work that was asked for before. Does not wait. */
    @Override
    public void close() {
        executor.execute(graphs::close);
        executor.shutdown();
    }

    /** Work in the queue, and how long it probably takes. It leaves when it is done, or cancelled before it began. */
    private final class Job extends FutureTask<DeviceOutput> {
        private final double expectedMs;
        private final Outcome outcome;
        private boolean begun;
        private long beganAt;

        Job(double expectedMs, Callable<DeviceOutput> work, Outcome outcome) {
            super(work);
            this.expectedMs = expectedMs;
            this.outcome = outcome;
        }

        double leftMs() {
            return begun ? Math.max(0, expectedMs - millisSince(beganAt)) : expectedMs;
        }

        @Override
        public void run() {
            synchronized (jobs) {
                begun = true;
                beganAt = System.nanoTime();
            }
            super.run();
            leave(); // also what was cancelled while it ran
        }

        @Override
        protected void done() {
            synchronized (jobs) {
                if (!isCancelled() || !begun) {
                    leave();
                }
            }
            if (isCancelled()) {
                return;
            }
            try {
                outcome.computed(get());
            } catch (ExecutionException error) {
                Throwable cause = error.getCause();
                boolean known = cause instanceof RuntimeException;
                outcome.failed(known ? (RuntimeException) cause : new IllegalStateException(cause));
            } catch (InterruptedException error) {
                outcome.failed(new IllegalStateException(error)); // it is done: nothing is waited for
            }
        }

        private void leave() {
            synchronized (jobs) {
                jobs.remove(this);
            }
        }
    }
}
