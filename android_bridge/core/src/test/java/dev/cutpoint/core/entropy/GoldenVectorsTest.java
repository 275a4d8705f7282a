package dev.cutpoint.core.entropy;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import dev.cutpoint.core.error.BitstreamException;
import dev.cutpoint.core.support.Vectors;
import dev.cutpoint.core.support.Vectors.Vector;
import java.io.IOException;
import java.nio.ByteBuffer;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.junit.runners.Parameterized;
import org.junit.runners.Parameterized.Parameters;

/** Every golden vector encodes and decodes to the same bytes, or is refused. */
@RunWith(Parameterized.class)
public class GoldenVectorsTest {
    private static final EntropyEncoder ENCODER = new EntropyEncoder();
    private static final EntropyDecoder DECODER = new EntropyDecoder();

    private final Vector vector;

    public GoldenVectorsTest(Vector vector) {
        this.vector = vector;
    }

    @Parameters(name = "{0}")
    public static Iterable<Vector> vectors() throws IOException {
        Iterable<Vector> all = Vectors.all();
        int kept = 0;
        for (Vector vector : all) {
            kept += vector.symbols == null ? 0 : 1;
        }
        assertTrue("the vectors are there", kept >= 40);
        return all;
    }

    @Test
    public void obeys() {
        EntropyModel model = EntropyModel.fromBytes(vector.model);
        if (vector.symbols == null) {
            assertThrows(
                    BitstreamException.class,
                    () -> DECODER.decode(model, vector.stream, vector.channels, vector.positions));
            return;
        }
        byte[] stream = ENCODER.encode(model, ByteBuffer.wrap(vector.symbols), vector.channels, vector.positions);
        assertArrayEquals(vector.stream, stream);
        ByteBuffer symbols = DECODER.decode(model, vector.stream, vector.channels, vector.positions);
        assertArrayEquals(vector.symbols, symbols.array());
    }
}
