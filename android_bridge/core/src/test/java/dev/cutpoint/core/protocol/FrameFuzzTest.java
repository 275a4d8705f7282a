package dev.cutpoint.core.protocol;

import static org.junit.Assert.assertTrue;

import dev.cutpoint.core.error.RemoteProtocolException;
import dev.cutpoint.core.json.JsonObject;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.Test;

/** Whatever arrives, a connection answers with an event, with nothing, or with a typed error. */
public class FrameFuzzTest {
    private static final int FRAMES = 100_000;

    @Test
    public void damagedFramesGiveTypedErrorsOnly() throws IOException {
        List<byte[]> recorded = new ArrayList<>();
        for (JsonObject conversation : ConversationsTest.all()) {
            for (JsonObject step : conversation.objects("steps", false)) {
                for (String frame : step.strings("frames", true)) {
                    recorded.add(EventJson.bytes(frame));
                }
            }
        }
        Random random = new Random(1);
        Connection connection = open(random.nextBoolean() ? Role.CLIENT : Role.SERVER);
        int refused = 0;
        for (int i = 0; i < FRAMES; i++) {
            if (i % 50 == 0) {
                connection = open(random.nextBoolean() ? Role.CLIENT : Role.SERVER);
            }
            try {
                connection.receive(damage(recorded.get(random.nextInt(recorded.size())), random), i);
            } catch (RemoteProtocolException error) {
                refused++;
            }
        }
        assertTrue("some frames are refused: " + refused, refused > FRAMES / 10);
        assertTrue("some frames are taken: " + refused, refused < FRAMES);
    }

    private static Connection open(Role role) {
        Connection connection = new Connection(role, 4096, point -> 1000);
        Frame hello = new Frame.Hello(new int[] {1}, "c", "", "", "");
        Frame welcome = new Frame.Welcome(1, "server", "c", new Frame.Limits(4096, 8), ServerState.IDLE);
        if (role == Role.CLIENT) {
            connection.send(hello);
            connection.receive(FrameEncoder.encode(welcome), 0);
            for (int id = 1; id <= 8; id++) {
                connection.send(new Frame.Request(id, 0, new byte[10], 0));
            }
        } else {
            connection.receive(FrameEncoder.encode(hello), 0);
            connection.send(welcome);
        }
        return connection;
    }

    /** Turns bits, cuts, or lengthens; most of the time length and checksum are put right afterwards. */
    private static byte[] damage(byte[] frame, Random random) {
        byte[] data = frame.clone();
        int size = random.nextInt(4) == 0 ? random.nextInt(data.length + 8) : data.length;
        data = Arrays.copyOf(data, size);
        for (int turns = random.nextInt(4); turns > 0 && size > 0; turns--) {
            data[random.nextInt(size)] ^= (byte) (1 << random.nextInt(8));
        }
        if (size >= FrameEncoder.HEADER_SIZE && random.nextInt(5) > 0) {
            ByteBuffer header = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
            header.putInt(8, size - FrameEncoder.HEADER_SIZE);
            header.putInt(12, FrameEncoder.checksum(data));
        }
        return data;
    }
}
