package dev.cutpoint.core.link;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertTrue;

import dev.cutpoint.core.error.CutpointException;
import dev.cutpoint.core.error.LinkException;
import dev.cutpoint.core.error.Refusal;
import dev.cutpoint.core.error.RefusedException;
import dev.cutpoint.core.policy.ChannelEstimator;
import dev.cutpoint.core.policy.Channel;
import dev.cutpoint.core.protocol.Frame;
import dev.cutpoint.core.protocol.ServerState;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.Before;
import org.junit.Test;

public class LinkTest {
    private static final LinkTimes TIMES = new LinkTimes(5, 1, 8, 0.1, 10, 1);

    private final ManualLoop loop = new ManualLoop();
    private final ScriptedServer server = new ScriptedServer(loop, new Frame.Limits(1 << 16, 2));
    private final LinkMonitor monitor = new LinkMonitor(TIMES.probe, false);
    private final Link link = new Link(
            loop, server, monitor, 1 << 16, TIMES, new Random(1), "hash", "secret", "test/1", "phone");
    private final List<String> outcomes = new ArrayList<>();
    private int tried;

    @Before
    public void start() {
        link.start(() -> tried++);
        loop.run();
    }

    private Exchange ask(String name) {
        return link.request(3, new byte[] {1, 2, 3}, 0.5, 0.01, new Reply() {
            @Override
            public void answered(Frame.Result result) {
                outcomes.add(name + " " + result.outputs.get(0).toFloats()[0]);
            }

            @Override
            public void failed(CutpointException error) {
                outcomes.add(name + " " + error.getClass().getSimpleName());
            }
        });
    }

    @Test
    public void greetsAndAsks() {
        server.welcome();
        assertTrue(link.up());
        assertEquals(1, tried);
        Frame.Hello hello = (Frame.Hello) server.heard.get(0);
        String said = String.join(" ", hello.bundle, hello.token, hello.client, hello.device);
        assertEquals("hash secret test/1 phone", said);
        Channel channel = monitor.channel(loop.now());
        ask("a");
        Frame.Request request = (Frame.Request) server.heard.get(1);
        assertEquals(3, request.point);
        double onWay = channel.rtt + 8.0 * request.payload.length / channel.uplink;
        assertEquals("both ways are taken off", 0.5 - onWay, request.budget, 1e-6);
        server.answer(1, 7);
        assertEquals("[a 7.0]", outcomes.toString());
        assertEquals(0, link.inFlight());
    }

    @Test
    public void withoutConnectionRequestsFailAtOnce() {
        ask("a");
        loop.run();
        assertEquals("[a LinkException]", outcomes.toString());
    }

    @Test
    public void requestsWaitForASlot() {
        server.welcome();
        ask("a");
        ask("b");
        Exchange third = ask("c");
        ask("d");
        assertEquals(3, server.heard.size());
        assertEquals(0, third.bytesSent());
        third.cancel();
        server.answer(2, 2);
        assertEquals(3, ((Frame.Request) server.heard.get(3)).requestId);
        server.answer(3, 4);
        server.answer(1, 1);
        assertEquals("[b 2.0, d 4.0, a 1.0]", outcomes.toString());
    }

    @Test
    public void cancellingTellsTheServerAndFreesItsSlot() {
        server.welcome();
        Exchange first = ask("a");
        ask("b");
        ask("c");
        first.cancel();
        assertTrue(server.heard.get(3) instanceof Frame.Cancel);
        assertEquals(4, server.heard.size());
        server.say(new Frame.Failure(1, "cancelled", "", null));
        assertEquals(3, server.heard.get(4).requestId);
        server.answer(2, 2);
        server.answer(3, 3);
        assertEquals("[b 2.0, c 3.0]", outcomes.toString());
    }

    @Test
    public void errorsOfARequestCostOnlyThatRequest() {
        server.welcome();
        ask("a");
        ask("b");
        server.say(new Frame.Failure(1, "overloaded", "busy", 0.5));
        server.answer(2, 2);
        assertEquals("[a RefusedException, b 2.0]", outcomes.toString());
        assertTrue(link.up());
    }

    @Test
    public void comesBackAfterTheConnectionIsLost() {
        server.welcome();
        ask("a");
        server.end("reset");
        assertEquals("[a LinkException]", outcomes.toString());
        assertFalse(link.up());
        assertEquals(1, server.attempts);
        loop.advance(0.1);
        assertEquals(2, server.attempts);
        server.welcome();
        ask("b");
        server.answer(1, 1);
        assertEquals("[a LinkException, b 1.0]", outcomes.toString());
    }

    @Test
    public void whoNeedsTheLinkDoesNotWaitForLong() {
        ScriptedServer gone = new ScriptedServer(loop, Frame.Limits.DEFAULT);
        LinkTimes patient = new LinkTimes(5, 1, 8, 1000, 1000, 1);
        Link other = new Link(
                loop, gone, new LinkMonitor(1, false), 1 << 16, patient, new Random(1), "hash", "", "test/1", "phone");
        other.start(() -> {});
        gone.end("refused");
        other.wake();
        assertEquals("not at once", 1, gone.attempts);
        loop.advance(1);
        assertEquals(1, gone.attempts);
        other.wake();
        assertEquals(2, gone.attempts);
        gone.open();
        gone.say(new Frame.Failure(0, "overloaded", "busy", null));
        loop.advance(2);
        other.wake();
        assertEquals("a refusal is heeded", 2, gone.attempts);
    }

    @Test
    public void anotherNetworkIsConnectedToAtOnce() {
        server.welcome();
        ask("a");
        link.reconnect();
        assertEquals("[a LinkException]", outcomes.toString());
        assertEquals(2, server.attempts);
        server.welcome();
        assertTrue(link.up());
    }

    @Test
    public void anUnansweredUploadIsHeldAgainstTheLink() {
        server.welcome();
        double believed = monitor.channel(loop.now()).uplink;
        link.request(3, new byte[20_000], 0.5, 0.01, new Reply() {
            @Override
            public void answered(Frame.Result result) {}

            @Override
            public void failed(CutpointException error) {}
        });
        assertTrue(monitor.unanswered() > 20_000);
        loop.advance(0.9);
        assertTrue(monitor.channel(loop.now()).uplink < believed / 10);
        server.answer(1, 1);
        assertEquals(0, monitor.unanswered(), 0);
    }

    @Test
    public void aServerThatSaysNothingIsGivenUp() {
        loop.advance(4.9);
        assertEquals(0, tried);
        loop.advance(0.2);
        assertEquals(1, tried);
        assertTrue(server.closed || server.attempts > 1);
    }

    @Test
    public void aDeadLinkIsGivenUp() {
        server.welcome();
        ask("a");
        loop.advance(7);
        assertTrue(link.up());
        loop.advance(3);
        assertFalse(link.up());
        assertEquals("[a LinkException]", outcomes.toString());
    }

    @Test
    public void anIdleLinkIsProbedByTwoPings() {
        server.welcome();
        loop.advance(1);
        List<Frame> pings = server.heard.subList(1, 3);
        assertEquals(0, ((Frame.Ping) pings.get(0)).padding);
        assertEquals(3 * ChannelEstimator.PACKET, ((Frame.Ping) pings.get(1)).padding);
        double sent = ((Frame.Ping) pings.get(0)).sent;
        ServerState busy = new ServerState(40, 0.5, false, false);
        server.say(new Frame.Pong(sent, 100, busy));
        server.say(new Frame.Pong(sent, 100.01, busy));
        assertEquals(40, link.server().queueMs, 1e-3);
        // The padding and the ping around it. A first sample nearly settles it.
        double rate = (3 * ChannelEstimator.PACKET + 60) * 8 / 0.01;
        assertEquals(rate, monitor.channel(loop.now()).uplink, 0.01 * rate);
        loop.advance(0.9);
        assertEquals(3, server.heard.size());
    }

    @Test
    public void aProbeKeepsToTheServersLimit() {
        ScriptedServer narrow = new ScriptedServer(loop, new Frame.Limits(2000, 2));
        Link other = new Link(
                loop, narrow, new LinkMonitor(1, false), 1 << 16, TIMES, new Random(1), "hash", "", "test/1", "phone");
        other.start(() -> {});
        narrow.welcome();
        loop.advance(1);
        assertEquals(2000 - 16 - 8, ((Frame.Ping) narrow.heard.get(2)).padding);
        assertTrue(other.up());
    }

    @Test
    public void aFatalRefusalIsToldAndTriedRarely() {
        server.open();
        server.say(new Frame.Failure(0, "unauthenticated", "no such token", null));
        assertEquals(Refusal.UNAUTHENTICATED, link.refusal().refusal());
        List<CutpointException> told = new ArrayList<>();
        link.whenUp(3, told::add);
        assertTrue(told.get(0) instanceof RefusedException);
        loop.advance(9.9);
        assertEquals(1, server.attempts);
        loop.advance(0.2);
        assertEquals(2, server.attempts);
        server.welcome();
        assertNull(link.refusal());
    }

    @Test
    public void whoWaitsForTheLinkHearsOfItOnce() {
        List<CutpointException> told = new ArrayList<>();
        link.whenUp(3, told::add);
        server.end("refused");
        loop.advance(0.2);
        server.welcome();
        assertEquals(1, told.size());
        assertNull(told.get(0));
        loop.advance(5);
        assertEquals(1, told.size());
    }

    @Test
    public void whoWaitsInVainIsToldInTime() {
        List<CutpointException> told = new ArrayList<>();
        link.whenUp(3, told::add);
        loop.advance(2.9);
        assertEquals(0, told.size());
        loop.advance(0.2);
        assertTrue(told.get(0) instanceof LinkException);
    }

    @Test
    public void aFrameThatBreaksTheRulesEndsTheConnection() {
        server.welcome();
        ask("a");
        server.say(new byte[] {1, 2, 3});
        assertFalse(link.up());
        assertTrue(server.closed);
        assertEquals("[a LinkException]", outcomes.toString());
    }

    @Test
    public void aSocketThatTakesNoMoreEndsTheConnection() {
        server.welcome();
        server.writable = false;
        ask("a");
        assertEquals("[a LinkException]", outcomes.toString());
        assertFalse(link.up());
    }

    @Test
    public void goawayIsBelieved() {
        server.welcome();
        server.say(new Frame.Goaway(2));
        assertTrue(link.server().draining);
        assertTrue(link.up());
    }

    @Test
    public void closingFailsWhatWaitsAndConnectsNoMore() {
        server.welcome();
        ask("a");
        link.close();
        assertEquals("[a LinkException]", outcomes.toString());
        loop.advance(60);
        assertEquals(1, server.attempts);
    }
}
