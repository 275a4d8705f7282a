package dev.cutpoint.core.tensor;

/** IEEE 754 half precision ↔ single precision; {@code android.util.Half} is not there on every JVM. */
public final class HalfFloat {
    private HalfFloat() {}

    /** The value of a half-precision number. Exact. */
    public static float toFloat(short half) {
        int sign = (half & 0x8000) << 16;
        int exponent = half >> 10 & 0x1F;
        int fraction = half & 0x3FF;
        if (exponent == 0) {
            float magnitude = fraction * 0x1p-24f;
            return sign != 0 ? -magnitude : magnitude;
        }
        int bits = exponent == 31 ? 0x7F800000 | fraction << 13 : exponent + 112 << 23 | fraction << 13;
        return Float.intBitsToFloat(sign | bits);
    }

    /** The nearest half-precision number, ties to even; too large becomes infinite. */
    public static short fromFloat(float value) {
        int bits = Float.floatToRawIntBits(value);
        int sign = bits >>> 16 & 0x8000;
        int magnitude = bits & 0x7FFFFFFF;
        if (magnitude > 0x7F800000) {
            return (short) (sign | 0x7C00 | magnitude >>> 13 & 0x3FF | 0x200);
        }
        if (magnitude >= 0x477FF000) { // from 65520 on
            return (short) (sign | 0x7C00);
        }
        if (magnitude < 0x38800000) { // below 2^-14: subnormal, in units of 2^-24; the sum rounds ties to even
            return (short) (sign | Float.floatToRawIntBits(Float.intBitsToFloat(magnitude) + 0.5f) - 0x3F000000);
        }
        int rounded = magnitude + 0xFFF + (magnitude >>> 13 & 1);
        return (short) (sign | rounded - 0x38000000 >>> 13);
    }
}
