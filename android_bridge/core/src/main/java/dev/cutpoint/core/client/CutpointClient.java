package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.bundle.Point;
import dev.cutpoint.core.error.InputException;
import dev.cutpoint.core.error.RefusedException;
import dev.cutpoint.core.policy.Conditions;
import dev.cutpoint.core.policy.Network;
import dev.cutpoint.core.policy.Plan;
import dev.cutpoint.core.policy.StaticPolicy;
import dev.cutpoint.core.tensor.Tensor;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.Function;

/**
 * Answers inference requests with an edge server's help, or without.
 *
 * <p>Several requests may be under way at a time; they share one connection, and take turns in the device's one worker
 * thread. Safe from every thread; nothing but {@link Builder#open} blocks.
 */
public final class CutpointClient implements AutoCloseable {
    /** Of this library. */
    public static final String VERSION = "0.1.0";

    private final Engine engine;

    CutpointClient(Engine engine) {
        this.engine = engine;
    }

    /** Begins to configure a client. */
    public static Builder builder() {
        return new Builder();
    }

    /** What is loaded: labels, points. */
    public Bundle bundle() {
        return engine.bundle;
    }

    /**
     * Answers one request. Cancelling the future frees the server's work, too.
     *
     * @return completes with an answer; or with {@link InputException} if the bundle takes no pictures, in mode
     *     {@link Mode#EDGE} with a {@link dev.cutpoint.core.error.LinkException} or {@link RefusedException}, and with
     *     what the runtime throws if the bundle's files do not work here
     */
    public CompletableFuture<InferenceResult> infer(Picture picture) {
        return begin(new Input(picture), engine.policy::choose, null);
    }

    /** As {@link #infer(Picture)}, for a bundle that takes no pictures: the tensors of boundary 0. */
    public CompletableFuture<InferenceResult> infer(List<Tensor> tensors) {
        return begin(new Input(tensors), engine.policy::choose, null);
    }

    /**
     * As {@link #infer(Picture)}, at a point of the caller's choice. In mode {@link Mode#AUTO} the device still steps
     * in.
     *
     * @throws dev.cutpoint.core.error.BundleException if there is no point of that id
     * @throws InputException if it does not go with the mode
     */
    public CompletableFuture<InferenceResult> infer(Picture picture, String point) {
        return begin(new Input(picture), fixed(point), null);
    }

    /**
     * As {@link #infer(Picture)}, for who prefers a listener.
     *
     * @param executor where the listener is called, for instance {@code context.getMainExecutor()}
     * @return cancels the request when it is run
     */
    public Runnable infer(Picture picture, Executor executor, InferenceListener listener) {
        CompletableFuture<InferenceResult> answer = infer(picture);
        Listening.to(answer, executor, listener);
        return () -> answer.cancel(false);
    }

    /**
     * Begins a stream of pictures. At points whose codec is for streams, what the last answered frame had already is
     * not sent again.
     *
     * @param inFlight how many frames may be under way at a time; further ones are not taken
     * @param executor where the listener is called
     * @param listener hears of every frame that was taken, in their order
     */
    public FrameStream stream(int inFlight, Executor executor, InferenceListener listener) {
        return new FrameStream(this, inFlight, executor, listener);
    }

    /** A frame of a stream. */
    CompletableFuture<InferenceResult> begin(Picture picture, References references) {
        return begin(new Input(picture), engine.policy::choose, references);
    }

    private CompletableFuture<InferenceResult> begin(
            Input input, Function<Conditions, Plan> policy, References references) {
        CompletableFuture<InferenceResult> answer = new CompletableFuture<>();
        double started = engine.loop.now();
        Inference inference = new Inference(engine, input, references, answer, started);
        engine.run(inference, () -> {
            if (engine.mode == Mode.EDGE && !engine.link.up()) {
                Double deadline = engine.objective.deadline;
                engine.link.whenUp(deadline == null ? engine.times.connect : deadline, error -> {
                    if (error != null) {
                        inference.fail(error);
                    } else {
                        inference.begin(policy);
                    }
                });
            } else {
                inference.begin(policy);
            }
        });
        return answer;
    }

    private Function<Conditions, Plan> fixed(String id) {
        Point point = engine.bundle.point(id);
        if (point.exit != null) {
            throw new InputException("point '" + id + "' has an exit, which this client cannot run: name one without");
        }
        if (point.slicing != null) {
            throw new InputException("point '" + id + "' is in slices, which this client cannot run: name another");
        }
        if (engine.mode != Mode.AUTO && point.isLocal() != (engine.mode == Mode.DEVICE)) {
            throw new InputException("point '" + id + "' does not go with mode " + engine.mode);
        }
        return new StaticPolicy(point, engine.mode == Mode.EDGE ? point : engine.fallback)::choose;
    }

    /** Whether requests can be sent to the server now. */
    public boolean isConnected() {
        return engine.link != null && engine.link.up();
    }

    /** Why the server last refused the connection; null if it did not. */
    public RefusedException refusal() {
        return engine.link == null ? null : engine.link.refusal();
    }

    /**
     * Tells the client that the device is on another network now. What was learned of the old one is forgotten, and a
     * new connection is made at once: its address is gone.
     */
    public void networkChanged(Network network) {
        engine.networkChanged(network);
    }

    /** Closes the connection. Requests that are under way fail. Does not wait. */
    @Override
    public void close() {
        engine.close();
    }
}
