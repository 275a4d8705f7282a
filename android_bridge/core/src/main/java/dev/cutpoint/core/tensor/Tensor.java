package dev.cutpoint.core.tensor;

import dev.cutpoint.core.error.InputException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** An immutable view of an array of numbers: element type, shape, and the values, C order, little endian. */
public final class Tensor {
    private final ElementType type;
    private final int[] shape;
    private final ByteBuffer data;

    private Tensor(ElementType type, int[] shape, ByteBuffer data) {
        this.type = type;
        this.shape = shape;
        this.data = data;
    }

    /**
     * A tensor over bytes that are not copied and must not change any more.
     *
     * @param type of the elements
     * @param data the values from its position to its limit, little endian
     * @param shape the sides
     * @throws InputException if there are more or fewer bytes than the shape says
     */
    public static Tensor of(ElementType type, ByteBuffer data, int... shape) {
        long bytes = TensorSpec.sizeOf(shape) * type.bytes();
        if (data.remaining() != bytes) {
            throw new InputException(
                    data.remaining() + " bytes given for " + type.label() + Arrays.toString(shape)
                            + ", which has " + bytes);
        }
        return new Tensor(type, shape.clone(), data.slice());
    }

    /** A float32 tensor with a copy of {@code values}. Throws {@link InputException} if their number is another. */
    public static Tensor ofFloats(float[] values, int... shape) {
        ByteBuffer data = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        data.asFloatBuffer().put(values);
        return of(ElementType.FLOAT32, data, shape);
    }

    /** An int64 tensor without sides: what graphs take as their level. */
    public static Tensor ofLevel(int level) {
        ByteBuffer data = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
        data.putLong(0, level);
        return of(ElementType.INT64, data);
    }

    /** A tensor full of zeros. */
    public static Tensor zeros(TensorSpec spec) {
        return of(spec.type(), ByteBuffer.allocate((int) spec.bytes()), spec.shape());
    }

    /** Of the elements. */
    public ElementType type() {
        return type;
    }

    /** The sides; a copy. */
    public int[] shape() {
        return shape.clone();
    }

    /** Number of elements. */
    public int size() {
        return data.capacity() / type.bytes();
    }

    /** Size of the values in bytes. */
    public int bytes() {
        return data.capacity();
    }

    /** The values: a read-only view of its own, little endian, from 0 to its limit. */
    public ByteBuffer data() {
        return data.asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
    }

    /** Whether the sides are these. */
    public boolean hasShape(int... other) {
        return Arrays.equals(shape, other);
    }

    /** This tensor's values in another shape of the same size. */
    public Tensor reshaped(int... other) {
        return of(type, data.duplicate(), other);
    }

    /** The values as floats; integers and doubles are rounded to the nearest. */
    public float[] toFloats() {
        float[] values = new float[size()];
        ByteBuffer view = data();
        if (type == ElementType.FLOAT32) {
            view.asFloatBuffer().get(values);
        } else {
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) element(view, i);
            }
        }
        return values;
    }

    /** The index of the greatest element; the first of several. For class scores: the class. */
    public int argMax() {
        ByteBuffer view = data();
        int best = 0;
        for (int i = 1; i < size(); i++) {
            if (element(view, i) > element(view, best)) {
                best = i;
            }
        }
        return best;
    }

    private double element(ByteBuffer view, int i) {
        switch (type) {
            case FLOAT32:
                return view.getFloat(4 * i);
            case FLOAT64:
                return view.getDouble(8 * i);
            case FLOAT16:
                return HalfFloat.toFloat(view.getShort(2 * i));
            case UINT8:
                return view.get(i) & 0xFF;
            case INT16:
                return view.getShort(2 * i);
            case UINT16:
                return view.getShort(2 * i) & 0xFFFF;
            case INT32:
                return view.getInt(4 * i);
            case INT64:
                return view.getLong(8 * i);
            default:
                return view.get(i);
        }
    }

    @Override
    public String toString() {
        return type.label() + Arrays.toString(shape);
    }
}
