package dev.cutpoint.core.entropy;

import dev.cutpoint.core.tensor.ElementType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The five types that symbols may have: their codes, their ranges, and how they lie in memory. */
final class SymbolTypes {
    private static final ElementType[] BY_CODE = {
        ElementType.INT8, ElementType.UINT8, ElementType.INT16, ElementType.UINT16, ElementType.INT32
    };

    private SymbolTypes() {}

    /** The type of that code in a model file; null if there is none. */
    static ElementType ofCode(int code) {
        return code < BY_CODE.length ? BY_CODE[code] : null;
    }

    /** Whether {@code value} lies within the type. */
    static boolean holds(ElementType type, long value) {
        int bits = 8 * type.bytes();
        if (type == ElementType.UINT8 || type == ElementType.UINT16) {
            return value >= 0 && value < 1L << bits;
        }
        return value >= -(1L << bits - 1) && value < 1L << bits - 1;
    }

    /** Reads {@code count} symbols from the buffer's position on, which stays where it is. */
    static void read(ElementType type, ByteBuffer data, int[] values, int count) {
        ByteBuffer in = data.slice().order(ByteOrder.LITTLE_ENDIAN);
        switch (type) {
            case INT8:
                for (int i = 0; i < count; i++) {
                    values[i] = in.get(i);
                }
                break;
            case UINT8:
                for (int i = 0; i < count; i++) {
                    values[i] = in.get(i) & 0xFF;
                }
                break;
            case INT16:
                for (int i = 0; i < count; i++) {
                    values[i] = in.getShort(2 * i);
                }
                break;
            case UINT16:
                for (int i = 0; i < count; i++) {
                    values[i] = in.getShort(2 * i) & 0xFFFF;
                }
                break;
            default:
                in.asIntBuffer().get(values, 0, count);
        }
    }

    /** {@code count} symbols as bytes, in a buffer of their own. */
    static ByteBuffer write(ElementType type, int[] values, int count) {
        ByteBuffer out = ByteBuffer.allocate(count * type.bytes()).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < count; i++) {
            switch (type.bytes()) {
                case 1:
                    out.put(i, (byte) values[i]);
                    break;
                case 2:
                    out.putShort(2 * i, (short) values[i]);
                    break;
                default:
                    out.putInt(4 * i, values[i]);
            }
        }
        return out;
    }
}
