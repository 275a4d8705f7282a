package dev.cutpoint.core.runtime;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import dev.cutpoint.core.error.GraphException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.Test;

public class TfliteFileTest {
    private static final byte[] FIRST = filled(128, 1);
    private static final byte[] SECOND = filled(64, 2);

    /** A model that is only a constant, with its values elsewhere; 128 bytes. */
    private static byte[] graph(long offset, long size) {
        ByteBuffer graph = ByteBuffer.allocate(128).order(ByteOrder.LITTLE_ENDIAN);
        graph.putInt(20); // the model
        for (int value : new int[] {14, 8, 0, 0, 0, 0, 4, 0}) { // its fields, of which it has the fifth
            graph.putShort((short) value);
        }
        graph.putInt(16).putInt(4); // the model: its fields are 16 bytes before it, the list 4 behind this
        graph.putInt(1).putInt(16); // the list, of one
        for (int value : new int[] {10, 24, 0, 8, 16, 0}) { // the constant's fields
            graph.putShort((short) value);
        }
        return graph.putInt(12).putInt(0).putLong(offset).putLong(size).array();
    }

    private static byte[] filled(int length, int value) {
        byte[] data = new byte[length];
        Arrays.fill(data, (byte) value);
        return data;
    }

    private static Map<String, byte[]> files(byte[] first, byte[] second) {
        Map<String, byte[]> files = new LinkedHashMap<>();
        files.put("z.bin", first);
        files.put("a.bin", second);
        return files;
    }

    private static String refused(byte[] graph, Map<String, byte[]> weights) {
        return assertThrows(GraphException.class, () -> TfliteFile.join(graph, weights)).getMessage();
    }

    @Test
    public void weightsFollowInTheOrderInWhichTheyAreListed() {
        ByteBuffer joined = TfliteFile.join(graph(128, 192), files(FIRST, SECOND));
        assertTrue(joined.isDirect());
        assertEquals(ByteOrder.nativeOrder(), joined.order());
        byte[] content = new byte[joined.remaining()];
        joined.get(content);
        assertEquals(128 + 128 + 64, content.length);
        assertArrayEquals(graph(128, 192), Arrays.copyOf(content, 128));
        assertArrayEquals(FIRST, Arrays.copyOfRange(content, 128, 256));
        assertArrayEquals(SECOND, Arrays.copyOfRange(content, 256, 320));
        assertEquals(128, TfliteFile.join(graph(64, 64), Collections.emptyMap()).remaining());
    }

    @Test
    public void placesOutsideAreRefused() {
        long[][] places = {{128, 193}, {320, 1}, {1L << 40, 1}, {64, 1L << 62}, {-4096, 8192}, {64, -64}, {-1, -1}};
        for (long[] place : places) {
            String message = refused(graph(place[0], place[1]), files(FIRST, SECOND));
            assertTrue(message, message.contains("with 2 files of weights has 0x140: they are incomplete"));
        }
        assertTrue(refused(graph(128, 64), Collections.emptyMap()).contains("with 0 files of weights has 0x80"));
    }

    @Test
    public void filesAreOfWholeBlocks() {
        String message = refused(graph(128, 64), files(FIRST, filled(63, 2)));
        assertTrue(message, message.startsWith("a.bin has 63 bytes, no multiple of 64"));
        assertTrue(refused(Arrays.copyOf(graph(128, 64), 120), files(FIRST, SECOND)).startsWith("the graph has 120"));
    }

    @Test
    public void whatIsNoGraphIsRefused() {
        for (byte[] data : new byte[][] {{}, "not a graph".getBytes(), Arrays.copyOf(graph(0, 0), 60), filled(64, 255)}) {
            assertTrue(refused(data, Collections.emptyMap()).startsWith("LiteRT refuses the graph: it cannot be read"));
        }
    }
}
