package dev.cutpoint.core.protocol;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import dev.cutpoint.core.error.LocalProtocolException;
import dev.cutpoint.core.error.RemoteProtocolException;
import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.json.JsonReader;
import dev.cutpoint.core.support.Vectors;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.Test;

/** The recorded conversations of tests/vectors replay as recorded: the same frames, events, verdicts and states. */
public class ConversationsTest {
    private static final int POINTS = 10;

    @Test
    public void replayAsRecorded() throws IOException {
        int steps = 0;
        for (JsonObject conversation : all()) {
            Role role = Role.valueOf(conversation.string("role"));
            long limit = role == Role.SERVER ? conversation.integer("max_payload") : -1;
            Connection connection = new Connection(
                    role, conversation.int32("frame_limit"), point -> point < POINTS ? limit : -1);
            for (JsonObject step : conversation.objects("steps", false)) {
                replay(connection, step);
                assertEquals(step.string("state"), connection.state().name());
                assertEquals(step.int32("in_flight"), connection.inFlight());
                steps++;
            }
        }
        assertTrue("there are recordings", steps > 500);
    }

    /** All conversations of all files. */
    static List<JsonObject> all() throws IOException {
        List<JsonObject> conversations = new ArrayList<>();
        Path folder = Vectors.root().resolve("tests/vectors/conversations");
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, "*.json")) {
            for (Path file : files) {
                for (Object conversation : (List<?>) JsonReader.parse(Files.readAllBytes(file))) {
                    conversations.add(new JsonObject(conversation, "conversation"));
                }
            }
        }
        return conversations;
    }

    private static void replay(Connection connection, JsonObject step) {
        if (step.has("send")) {
            List<String> frames = new ArrayList<>();
            boolean refused = false;
            try {
                for (byte[] frame : connection.send(EventJson.read(step.object("send")))) {
                    frames.add(EventJson.hex(frame));
                }
            } catch (LocalProtocolException error) {
                refused = true;
            }
            assertEquals(step.bool("refused", false), refused);
            assertEquals(step.strings("frames", true), frames);
            return;
        }
        String verdict;
        try {
            Frame event = connection.receive(EventJson.bytes(step.string("receive")), step.number("now"));
            verdict = event == null ? "nothing" : EventJson.received(event);
        } catch (RemoteProtocolException error) {
            verdict = error.code();
        }
        String recorded = step.has("error")
                ? step.string("error")
                : step.has("event") ? EventJson.text(step.object("event")) : "nothing";
        assertEquals(recorded, verdict);
    }
}
