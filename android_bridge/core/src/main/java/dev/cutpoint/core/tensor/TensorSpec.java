package dev.cutpoint.core.tensor;

import java.util.Arrays;

/** What a tensor looks like, without its values. */
public final class TensorSpec {
    private final String name;
    private final int[] shape;
    private final ElementType type;

    /**
     * @param name the tensor's name in the graph files
     * @param shape with the batch axis in front, always 1 there
     * @param type of its elements
     */
    public TensorSpec(String name, int[] shape, ElementType type) {
        this.name = name;
        this.shape = shape.clone();
        this.type = type;
    }

    /** The tensor's name in the graph files. */
    public String name() {
        return name;
    }

    /** The sides, the batch axis in front; a copy. */
    public int[] shape() {
        return shape.clone();
    }

    /** Of the elements. */
    public ElementType type() {
        return type;
    }

    /** Number of elements. */
    public long size() {
        return sizeOf(shape);
    }

    /** Size of the values in bytes. */
    public long bytes() {
        return size() * type.bytes();
    }

    /** Whether {@code tensor} has this shape and element type. */
    public boolean accepts(Tensor tensor) {
        return tensor.type() == type && tensor.hasShape(shape);
    }

    @Override
    public String toString() {
        return name + ": " + type.label() + Arrays.toString(shape);
    }

    static long sizeOf(int[] shape) {
        long size = 1;
        for (int side : shape) {
            size *= side;
        }
        return size;
    }
}
