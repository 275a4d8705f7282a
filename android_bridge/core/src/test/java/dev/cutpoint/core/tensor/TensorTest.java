package dev.cutpoint.core.tensor;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import dev.cutpoint.core.error.InputException;
import java.nio.ByteBuffer;
import java.nio.ReadOnlyBufferException;
import java.util.Arrays;
import org.junit.Test;

public class TensorTest {
    @Test
    public void valuesOfEveryTypeBecomeFloats() {
        byte[] bytes = new byte[8];
        Arrays.fill(bytes, (byte) 0xFF);
        assertEquals(255, Tensor.of(ElementType.UINT8, ByteBuffer.wrap(bytes), 8).toFloats()[3], 0);
        assertEquals(-1, Tensor.of(ElementType.INT8, ByteBuffer.wrap(bytes), 2, 4).toFloats()[7], 0);
        assertEquals(65535, Tensor.of(ElementType.UINT16, ByteBuffer.wrap(bytes), 4).toFloats()[1], 0);
        assertEquals(-1, Tensor.of(ElementType.INT16, ByteBuffer.wrap(bytes), 4).toFloats()[1], 0);
        assertEquals(-1, Tensor.of(ElementType.INT32, ByteBuffer.wrap(bytes), 2).toFloats()[1], 0);
        assertEquals(-1, Tensor.of(ElementType.INT64, ByteBuffer.wrap(bytes)).toFloats()[0], 0);
        assertEquals(5, Tensor.ofLevel(5).toFloats()[0], 0);
        assertArrayEquals(new float[] {1, -2}, Tensor.ofFloats(new float[] {1, -2}, 1, 2).toFloats(), 0);
    }

    @Test
    public void theGreatestElementIsFoundTheFirstOfEquals() {
        assertEquals(1, Tensor.ofFloats(new float[] {-3, 4, 4, 0}, 1, 4).argMax());
        assertEquals(0, Tensor.ofFloats(new float[] {7}, 1).argMax());
    }

    @Test
    public void sizesAreCheckedAndValuesCannotBeChanged() {
        assertThrows(InputException.class, () -> Tensor.of(ElementType.INT16, ByteBuffer.allocate(5), 2));
        assertThrows(InputException.class, () -> Tensor.ofFloats(new float[3], 2, 2));
        Tensor tensor = Tensor.ofFloats(new float[4], 2, 2);
        assertThrows(ReadOnlyBufferException.class, () -> tensor.data().put(0, (byte) 1));
        tensor.shape()[0] = 9;
        assertTrue(tensor.hasShape(2, 2));
        assertEquals("float32[4, 1]", tensor.reshaped(4, 1).toString());
    }

    @Test
    public void everyHalfComesBackFromItsFloat() {
        for (int bits = 0; bits < 1 << 16; bits++) {
            float value = HalfFloat.toFloat((short) bits);
            if (!Float.isNaN(value)) {
                assertEquals((short) bits, HalfFloat.fromFloat(value));
            }
        }
    }
}
