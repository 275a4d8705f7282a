package dev.cutpoint.core.client;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertSame;
import static org.junit.Assert.assertTrue;

import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.bundle.Point;
import dev.cutpoint.core.client.InferenceResult.Source;
import dev.cutpoint.core.error.GraphException;
import dev.cutpoint.core.error.LinkException;
import dev.cutpoint.core.error.Refusal;
import dev.cutpoint.core.error.RefusedException;
import dev.cutpoint.core.link.Link;
import dev.cutpoint.core.link.LinkMonitor;
import dev.cutpoint.core.link.LinkTimes;
import dev.cutpoint.core.link.ManualLoop;
import dev.cutpoint.core.link.ScriptedServer;
import dev.cutpoint.core.policy.AdaptivePolicy;
import dev.cutpoint.core.policy.Conditions;
import dev.cutpoint.core.policy.DeviceState;
import dev.cutpoint.core.policy.EnergyModel;
import dev.cutpoint.core.policy.Network;
import dev.cutpoint.core.policy.Objective;
import dev.cutpoint.core.policy.Plan;
import dev.cutpoint.core.policy.Policy;
import dev.cutpoint.core.policy.Radio;
import dev.cutpoint.core.policy.StaticPolicy;
import dev.cutpoint.core.protocol.Frame;
import dev.cutpoint.core.support.ShapedRuntime;
import dev.cutpoint.core.support.Vectors;
import dev.cutpoint.core.support.Waiting;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import org.junit.After;
import org.junit.Assert;
import org.junit.BeforeClass;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.Timeout;

/** A request's way to its answer, with the loop's clock and the server's words in the test's hands. */
public class InferenceTest {
    private static final LinkTimes TIMES = new LinkTimes(5, 100, 200, 0.1, 10, 1);
    private static final Picture PICTURE = new Picture(new byte[3 * 224 * 224], 224, 224);
    private static final String LOCAL = "cut9-int8";
    private static Bundle bundle;

    @Rule public final Timeout timeout = Timeout.seconds(60);

    private final ManualLoop loop = new ManualLoop();
    private final ScriptedServer server = new ScriptedServer(loop, Frame.Limits.DEFAULT);
    private final ShapedRuntime runtime = new ShapedRuntime(bundle);
    private Engine engine;
    private CutpointClient client;

    @BeforeClass
    public static void open() {
        bundle = Bundle.open(Vectors.root().resolve("examples/cutpoint/demo/scenes.cutpoint").toFile());
    }

    private void connect(Mode mode, Objective objective, Policy policy) {
        LinkMonitor monitor = new LinkMonitor(TIMES.probe, false);
        Device device = new Device(bundle, Collections.singletonList(runtime), null);
        Link link = new Link(loop, server, monitor, 1 << 20, TIMES, new Random(1), "hash", "", "test", "phone");
        engine = new Engine(
                loop, Runnable::run, bundle, () -> {}, mode, objective, TIMES, device, monitor, policy,
                bundle.point(LOCAL), link);
        client = new CutpointClient(engine);
        link.start(() -> {});
        server.welcome();
    }

    private void connect(Mode mode, Objective objective) {
        connect(mode, objective, new StaticPolicy(bundle.point("cut7-int8-klt-q3"), bundle.point(LOCAL)));
    }

    /** Only the deadline brings the device in. */
    private static Objective deadline(double seconds) {
        return Objective.builder().deadline(seconds).patience(1e6).build();
    }

    /** Begins a request, and lets the device do its part; the loop's clock stands still. */
    private CompletableFuture<InferenceResult> begin() throws InterruptedException {
        int before = server.heard.size();
        CompletableFuture<InferenceResult> answer = client.infer(PICTURE);
        loop.run();
        Waiting.until(() -> {
            loop.run();
            return server.heard.size() > before || answer.isDone();
        });
        return answer;
    }

    private void letTheDeviceWork(CompletableFuture<?> answer) throws InterruptedException {
        Waiting.until(() -> {
            loop.run();
            return answer.isDone();
        });
    }

    @After
    public void close() {
        client.close();
        loop.run();
    }

    @Test
    public void theEdgeAnswers() throws Exception {
        connect(Mode.AUTO, deadline(1));
        CompletableFuture<InferenceResult> answer = begin();
        loop.advance(0.05);
        server.answer(1, 5);
        InferenceResult result = answer.get();
        assertEquals(Source.EDGE, result.source);
        assertEquals(5, result.outputs.get(0).toFloats()[0], 0);
        assertEquals("cut7-int8-klt-q3", result.point.id);
        assertEquals(50, result.timing.total, 1e-6);
        assertEquals(50 - 1 - 2 - 3, result.timing.network, 1e-2);
        assertTrue(result.bytesSent > 28);
        assertFalse(result.hedged);
        double budget = ((Frame.Request) server.heard.get(1)).budget;
        assertTrue("what the way is believed to take is off", budget >= 0.5 && budget < 1);
    }

    @Test
    public void theDeviceStepsInWhenTheEdgeRefuses() throws Exception {
        connect(Mode.AUTO, deadline(1));
        CompletableFuture<InferenceResult> answer = begin();
        server.say(new Frame.Failure(1, "overloaded", "busy", null));
        letTheDeviceWork(answer);
        InferenceResult result = answer.get();
        assertEquals(Source.DEVICE, result.source);
        assertEquals("cut9-int8", result.point.id);
        assertEquals("cut7-int8-klt-q3", result.plan.point.id);
        assertEquals(Refusal.OVERLOADED, ((RefusedException) result.fallback).refusal());
        assertFalse(result.hedged);
        assertTrue(result.bytesSent > 0);
    }

    @Test
    public void theDeviceStepsInWhenTheConnectionBreaks() throws Exception {
        connect(Mode.AUTO, deadline(1));
        CompletableFuture<InferenceResult> answer = begin();
        server.end("reset");
        letTheDeviceWork(answer);
        assertTrue(answer.get().fallback instanceof LinkException);
    }

    @Test
    public void aLateAnswerIsHedgedBeforeTheDeadline() throws Exception {
        connect(Mode.AUTO, deadline(0.5));
        CompletableFuture<InferenceResult> answer = begin();
        loop.advance(0.3);
        assertFalse(answer.isDone());
        loop.advance(0.19);
        letTheDeviceWork(answer);
        assertEquals(Source.DEVICE, answer.get().source);
        assertTrue(answer.get().hedged);
        assertTrue(answer.get().timing.total <= 500);
        assertTrue("the server is told", server.heard.get(2) instanceof Frame.Cancel);
    }

    @Test
    public void withoutADeadlinePatienceFollowsThePrediction() throws Exception {
        connect(Mode.AUTO, Objective.builder().patience(4).build());
        // Asked beforehand: what the head is seen to take counts from then on.
        double predicted = engine.policy.choose(engine.conditions()).predictedMs / 1e3;
        CompletableFuture<InferenceResult> answer = begin();
        runtime.gate = new CountDownLatch(1);
        double patience = Math.max(0.02, 4 * predicted);
        loop.advance(0.9 * patience);
        assertEquals(0, runtime.entered.availablePermits());
        loop.advance(0.2 * patience);
        runtime.entered.acquire();
        server.answer(1, 8); // while the device computes
        runtime.gate.countDown();
        assertEquals(Source.EDGE, answer.get().source);
        assertTrue(answer.get().hedged);
    }

    @Test
    public void aPlanSaysWhenTheDeviceStepsIn() throws Exception {
        Point remote = bundle.point("cut7-int8-klt-q3");
        connect(Mode.AUTO, Objective.builder().patience(1000).build(), new Policy() {
            @Override
            public Plan choose(Conditions conditions) {
                return new Plan(remote, 100, 1, 0, 0, 40.0, Collections.emptyList());
            }

            @Override
            public List<Point> points() {
                return Collections.singletonList(remote);
            }
        });
        CompletableFuture<InferenceResult> answer = begin();
        runtime.gate = new CountDownLatch(1);
        loop.advance(0.039);
        assertEquals(0, runtime.entered.availablePermits());
        loop.advance(0.002);
        runtime.entered.acquire();
        CompletableFuture<InferenceResult> behind = client.infer(PICTURE);
        loop.run();
        assertTrue("work waits", engine.conditions().deviceQueueMs > 0);
        behind.cancel(false);
        loop.run();
        runtime.gate.countDown();
        letTheDeviceWork(answer);
        assertEquals(Source.DEVICE, answer.get().source);
        assertTrue(answer.get().hedged);
        assertEquals(0, engine.conditions().deviceQueueMs, 0);
    }

    @Test
    public void theAdaptivePolicyAnswersThroughTheEdgeAndTheDevice() throws Exception {
        AdaptivePolicy policy = AdaptivePolicy.of(
                bundle, bundle.manifest().points, Objective.builder().build(), EnergyModel.DEFAULT);
        connect(Mode.AUTO, Objective.builder().build(), policy);
        CompletableFuture<InferenceResult> answer = begin();
        if (!answer.isDone()) {
            letTheDeviceWork(answer);
        }
        Plan plan = answer.get().plan;
        assertFalse(plan.runnersUp.isEmpty());
        assertTrue(plan.energyMj > 0);
    }

    @Test
    public void anotherNetworkMeansAnotherBeliefAndConnection() throws Exception {
        connect(Mode.AUTO, deadline(1));
        assertEquals(5e6, engine.conditions().channel.uplink, 1);
        client.networkChanged(Network.WIFI);
        loop.run();
        assertEquals(2, server.attempts);
        assertFalse(client.isConnected());
        server.welcome();
        assertEquals(Network.WIFI.uplink, engine.conditions().channel.uplink, 1);
        assertEquals(Radio.WIFI, engine.conditions().radio);
    }

    @Test
    public void theAppIsAskedHowTheDeviceIs() throws Exception {
        connect(Mode.AUTO, deadline(1));
        double[] battery = {0.9};
        engine.watch(() -> new DeviceState(null, battery[0], false));
        assertFalse(engine.conditions().device.strained());
        battery[0] = 0.1;
        loop.advance(5.1);
        assertTrue(engine.conditions().device.strained());
        engine.watch(() -> {
            throw new IllegalStateException("no sensor");
        });
        assertTrue(engine.conditions().device.strained());
    }

    @Test
    public void aLostReferenceIsAnsweredWithAKeyFrame() throws Exception {
        connect(Mode.AUTO, deadline(1));
        CompletableFuture<InferenceResult> answer = begin();
        server.say(new Frame.Failure(1, "reference_lost", "gone", null));
        Waiting.until(() -> {
            loop.run();
            return server.heard.size() == 3;
        });
        assertEquals(2, server.heard.get(2).requestId);
        server.answer(2, 6);
        assertEquals(Source.EDGE, answer.get().source);
        assertTrue("both payloads are counted", answer.get().bytesSent > 2 * 28);
    }

    @Test
    public void inModeEdgeADeadlineIsAnError() throws Exception {
        connect(Mode.EDGE, deadline(0.5));
        CompletableFuture<InferenceResult> answer = begin();
        loop.advance(0.6);
        ExecutionException error = Assert.assertThrows(ExecutionException.class, answer::get);
        assertEquals(Refusal.DEADLINE_EXCEEDED, ((RefusedException) error.getCause()).refusal());
        assertTrue(server.heard.get(2) instanceof Frame.Cancel);
    }

    @Test
    public void cancellingTellsTheServer() throws Exception {
        connect(Mode.AUTO, deadline(1));
        CompletableFuture<InferenceResult> answer = begin();
        answer.cancel(false);
        loop.run();
        assertTrue(server.heard.get(2) instanceof Frame.Cancel);
        loop.advance(5);
        assertTrue(answer.isCancelled());
        assertEquals(3, server.heard.size());
    }

    @Test
    public void whenBothFailTheDevicesErrorTellsOfTheEdges() throws Exception {
        connect(Mode.AUTO, deadline(1));
        CompletableFuture<InferenceResult> answer = begin();
        runtime.failure = new GraphException("broken");
        server.say(new Frame.Failure(1, "internal", "no", null));
        letTheDeviceWork(answer);
        ExecutionException error = Assert.assertThrows(ExecutionException.class, answer::get);
        assertSame(runtime.failure, error.getCause());
        assertEquals(1, error.getCause().getSuppressed().length);
    }

    @Test
    public void whenTheDeviceFailsTheEdgeIsWaitedFor() throws Exception {
        connect(Mode.AUTO, deadline(0.5));
        CompletableFuture<InferenceResult> answer = begin();
        runtime.failure = new GraphException("broken");
        runtime.gate = new CountDownLatch(1); // or it might have failed before the clock stands still again
        loop.advance(0.49);
        runtime.gate.countDown();
        Waiting.until(loop::hasTasks);
        loop.run();
        assertFalse(answer.isDone());
        server.answer(1, 3);
        assertEquals(Source.EDGE, answer.get().source);
    }

    @Test
    public void whatAPolicyThrowsIsTheAnswer() throws Exception {
        connect(Mode.AUTO, deadline(1));
        CompletableFuture<InferenceResult> answer = new CompletableFuture<>();
        new Inference(engine, new Input(PICTURE), null, answer, 0).begin(conditions -> {
            throw new IllegalStateException("no idea");
        });
        ExecutionException error = Assert.assertThrows(ExecutionException.class, answer::get);
        assertEquals("no idea", error.getCause().getMessage());
    }

    @Test
    public void closingFailsWhatIsUnderWay() throws Exception {
        connect(Mode.AUTO, deadline(1));
        CompletableFuture<InferenceResult> answer = begin();
        client.close();
        loop.run();
        ExecutionException error = Assert.assertThrows(ExecutionException.class, answer::get);
        assertTrue(error.getCause() instanceof LinkException);
        error = Assert.assertThrows(ExecutionException.class, () -> client.infer(PICTURE).get());
        assertTrue(error.getCause() instanceof LinkException);
    }

    @Test
    public void picturesThatTheBundleDoesNotTakeAreNamed() throws Exception {
        connect(Mode.AUTO, deadline(1));
        CompletableFuture<InferenceResult> answer = client.infer(Collections.emptyList());
        letTheDeviceWork(answer);
        ExecutionException error = Assert.assertThrows(ExecutionException.class, answer::get);
        assertTrue(error.getMessage(), error.getMessage().contains("picture: uint8[1, 224, 224, 3]"));
    }
}
