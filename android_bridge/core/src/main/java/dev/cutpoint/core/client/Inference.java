package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Point;
import dev.cutpoint.core.error.CutpointException;
import dev.cutpoint.core.error.LinkException;
import dev.cutpoint.core.error.Refusal;
import dev.cutpoint.core.error.RefusedException;
import dev.cutpoint.core.link.Exchange;
import dev.cutpoint.core.link.Loop;
import dev.cutpoint.core.link.Reply;
import dev.cutpoint.core.policy.Conditions;
import dev.cutpoint.core.policy.Plan;
import dev.cutpoint.core.protocol.Frame;
import dev.cutpoint.core.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * One request, from the plan to its answer. Two ways lead there: the edge first, the device when the edge fails or is
 * late; whichever answers first wins and the other is cancelled. For the loop's thread.
 */
final class Inference {
    /**
     * Seconds that threads may take to wake up: below that hedging is not worth a thought, and a deadline is missed.
     */
    private static final double JITTER = 0.02;
    /** The device's own work may take this many times as long as predicted when a deadline depends on it. */
    private static final double MARGIN = 1.1;
    /** Share of a deadline by which the device may be late and still start at once. */
    private static final double HOPELESS = 0.1;

    private final Engine engine;
    private final Loop loop;
    private final Input input;
    private final References references;
    private final CompletableFuture<InferenceResult> answer;
    private final double started;
    private Plan plan;
    private DeviceOutput output;
    private double askedAt;
    private int bytesSent;
    private Exchange exchange;
    private Future<?> computing;
    private Loop.Timer timer;
    private CutpointException failure;
    private RuntimeException deviceError;
    private boolean done;
    private boolean edgeDone;
    private boolean onDevice;
    private boolean hedged;

    /**
     * @param references of the stream that it belongs to; null for none
     * @param answer what came of it; cancelling it cancels the work
     */
    Inference(
            Engine engine,
            Input input,
            References references,
            CompletableFuture<InferenceResult> answer,
            double started) {
        this.engine = engine;
        this.loop = engine.loop;
        this.input = input;
        this.references = references;
        this.answer = answer;
        this.started = started;
        answer.whenComplete((result, error) -> {
            if (answer.isCancelled()) {
                loop.execute(this::stop);
            }
        });
    }

    /** Plans with {@code policy} and sets to work. */
    void begin(Function<Conditions, Plan> policy) {
        guarded(() -> {
            plan = policy.apply(engine.conditions());
            List<Tensor> reference = references == null ? null : references.get(plan.point);
            compute(plan.point, input, reference, this::prepared, this::fail);
        }).run();
    }

    /** Fails before it began; from any thread. */
    void refuse(RuntimeException error) {
        answer.completeExceptionally(error);
    }

    private void finish(InferenceResult result) {
        if (!done) {
            stop();
            engine.callbacks.execute(() -> answer.complete(result));
        }
    }

    void fail(RuntimeException error) {
        if (!done) {
            stop();
            engine.callbacks.execute(() -> answer.completeExceptionally(error));
        }
    }

    /** Nobody waits any more: what is still under way is of no use. */
    private void stop() {
        done = true;
        engine.finished(this);
        if (timer != null) {
            timer.cancel();
        }
        if (exchange != null && !edgeDone) {
            edgeDone = true;
            exchange.cancel();
        }
        if (computing != null) {
            computing.cancel(false);
        }
    }

    private void prepared(DeviceOutput output) {
        this.output = output;
        if (plan.point.isLocal()) {
            finishOnDevice(plan.point, output);
            return;
        }
        askedAt = loop.now();
        if (engine.mode == Mode.EDGE) {
            if (engine.objective.deadline != null) {
                timer = loop.after(Math.max(0, left()), () -> fail(late("no answer")));
            }
        } else {
            timer = loop.after(patience(), guarded(this::lostPatience));
        }
        ask(false);
    }

    // -- the edge ----------------------------------------------------------------------------------------------------

    private void ask(boolean again) {
        double budget = engine.objective.deadline == null ? 0 : left();
        if (engine.objective.deadline != null && budget <= 0) {
            edgeFailed(late("nothing was sent, for the device took all the time"));
            return;
        }
        if (engine.link == null) { // an app's own policy may choose what there is no server for
            edgeFailed(new LinkException("the client was opened without a server"));
            return;
        }
        int number = engine.bundle.pointNumber(plan.point.id);
        double server = engine.serverSeconds(plan.point);
        exchange = engine.link.request(number, output.payload, budget, server, new Reply() {
            @Override
            public void answered(Frame.Result result) {
                bytesSent += exchange.bytesSent();
                edgeAnswered(result);
            }

            @Override
            public void failed(CutpointException error) {
                bytesSent += exchange == null ? 0 : exchange.bytesSent();
                boolean lost = error instanceof RefusedException
                        && ((RefusedException) error).refusal() == Refusal.REFERENCE_LOST;
                if (lost && !again && !done) {
                    startAnew();
                } else {
                    edgeFailed(error);
                }
            }
        });
    }

    /** The server keeps a few frames, and none beyond a connection: the stream begins again with a key frame. */
    private void startAnew() {
        exchange = null;
        compute(plan.point, new Input(output.input), null, key -> {
            output = key;
            ask(true);
        }, error -> {
            if (error instanceof CutpointException) {
                edgeFailed((CutpointException) error);
            } else {
                fail(error);
            }
        });
    }

    private void edgeAnswered(Frame.Result result) {
        edgeDone = true;
        engine.learnServer(plan.point, result);
        if (references != null && output.symbols != null) {
            references.put(plan.point, output.symbols);
        }
        Timing timing = Timing.onEdge(
                (loop.now() - started) * 1e3, output, (loop.now() - askedAt) * 1e3, result);
        finish(new InferenceResult(
                result.outputs, plan.point, InferenceResult.Source.EDGE, timing, bytesSent, plan, null, hedged));
    }

    private void edgeFailed(CutpointException error) {
        edgeDone = true;
        if (done) {
            return;
        }
        if (engine.mode == Mode.EDGE) {
            fail(error);
            return;
        }
        failure = error;
        if (deviceError != null) {
            failTwice();
        } else {
            startDevice();
        }
    }

    private void lostPatience() {
        if (!onDevice) {
            hedged = true;
            startDevice();
        }
    }

    // -- the device --------------------------------------------------------------------------------------------------

    private void startDevice() {
        if (onDevice) {
            return;
        }
        onDevice = true;
        Point point = engine.fallback;
        compute(point, new Input(output.input), null, local -> finishOnDevice(point, local), error -> {
            deviceError = error;
            if (edgeDone) {
                failTwice();
            }
        });
    }

    /** Lets the device compute, and goes on with one of the two, unless nobody waits any more. */
    private void compute(
            Point point,
            Input from,
            List<Tensor> reference,
            Consumer<DeviceOutput> computed,
            Consumer<RuntimeException> failed) {
        computing = engine.device.compute(point, from, reference, new Device.Outcome() {
            @Override
            public void computed(DeviceOutput output) {
                loop.execute(guarded(() -> computed.accept(output)));
            }

            @Override
            public void failed(RuntimeException error) {
                loop.execute(guarded(() -> failed.accept(error)));
            }
        });
    }

    /** A step that is left out where nobody waits any more; what it throws is the request's answer, never lost. */
    private Runnable guarded(Runnable step) {
        return () -> {
            if (!done) {
                try {
                    step.run();
                } catch (RuntimeException error) {
                    fail(error);
                }
            }
        };
    }

    private void failTwice() {
        deviceError.addSuppressed(failure);
        fail(deviceError);
    }

    private void finishOnDevice(Point point, DeviceOutput local) {
        DeviceOutput timed = new DeviceOutput(
                null, null, local.outputs, local.input, output.prepareMs, local.headMs, local.encodeMs);
        finish(new InferenceResult(
                Collections.unmodifiableList(local.outputs),
                point,
                InferenceResult.Source.DEVICE,
                Timing.onDevice((loop.now() - started) * 1e3, timed),
                sentSoFar(),
                plan,
                failure,
                hedged));
    }

    // -- time --------------------------------------------------------------------------------------------------------

    private int sentSoFar() {
        return bytesSent + (exchange == null || edgeDone ? 0 : exchange.bytesSent());
    }

    /** Seconds to the deadline. */
    private double left() {
        return engine.objective.deadline - (loop.now() - started);
    }

    /** Seconds from now after which the device starts on its own answer. */
    private double patience() {
        double elapsed = loop.now() - started;
        double wait = plan.hedgeMs != null
                ? plan.hedgeMs / 1e3 - elapsed
                : Math.max(JITTER, engine.objective.patience * plan.predictedMs / 1e3 - elapsed);
        if (engine.objective.deadline != null) {
            double alone = engine.fallback.measured.deviceMs * engine.device.scale() + engine.device.queueMs();
            double latest = left() - MARGIN * alone / 1e3 - JITTER;
            // Where the device could not be in time either, hurrying it helps nobody.
            if (latest > -HOPELESS * engine.objective.deadline) {
                wait = Math.min(wait, latest);
            }
        }
        return Math.max(0, wait);
    }

    private RefusedException late(String what) {
        return new RefusedException(
                Refusal.DEADLINE_EXCEEDED, what + " within " + engine.objective.deadline + " s", null);
    }
}
