package dev.cutpoint.core.entropy;

import dev.cutpoint.core.error.BitstreamException;

/** The small parts of a stream: header bits, varints, states. Numbers of 32 bits are unsigned. */
final class Stream {
    static final int LANES = 0x0F;
    static final int DENSE = 0x10;
    static final int ESCAPES = 0x20;
    static final int RESERVED = 0xC0;
    /** Least value of a state. */
    static final int LOW = 1 << 15;

    private Stream() {}

    static int varintSize(int value) {
        return value == 0 ? 1 : (38 - Integer.numberOfLeadingZeros(value)) / 7;
    }

    /** Writes seven bits a byte, lowest first; returns the place after it. */
    static int putVarint(byte[] out, int at, int value) {
        while ((value & ~0x7F) != 0) {
            out[at++] = (byte) (value | 0x80);
            value >>>= 7;
        }
        out[at++] = (byte) value;
        return at;
    }

    /** Three bytes below 2^23, else four with the top bit set, big endian; returns the place after it. */
    static int putState(byte[] out, int at, int state) {
        if (state >= 1 << 23) {
            out[at++] = (byte) (0x80 | state >> 24);
        }
        out[at++] = (byte) (state >> 16);
        out[at++] = (byte) (state >> 8);
        out[at++] = (byte) state;
        return at;
    }

    /** Reads the parts of a stream one after the other. */
    static final class Reader {
        private final byte[] data;
        int at;
        int end;

        Reader(byte[] data, int at, int end) {
            this.data = data;
            this.at = at;
            this.end = end;
        }

        int left() {
            return end - at;
        }

        /** At most 32 bits in the fewest bytes. */
        int varint() {
            long value = 0;
            for (int shift = 0; shift < 35; shift += 7) {
                if (at >= end) {
                    throw new BitstreamException("a number ends early");
                }
                int next = data[at++];
                value |= (long) (next & 0x7F) << shift;
                if (next >= 0) {
                    if (value >>> 32 != 0 || next == 0 && shift > 0) {
                        throw new BitstreamException("a number is not in its shortest form");
                    }
                    return (int) value;
                }
            }
            throw new BitstreamException("a number is too long");
        }

        int state() {
            int size = at < end && data[at] < 0 ? 4 : 3;
            if (left() < size) {
                throw new BitstreamException("the states end early");
            }
            int state = data[at] & 0x7F;
            for (int i = 1; i < size; i++) {
                state = state << 8 | data[at + i] & 0xFF;
            }
            at += size;
            if (state < (size == 4 ? 1 << 23 : LOW)) {
                throw new BitstreamException("a state is too small");
            }
            return state;
        }

        /** A word, little endian. */
        short word() {
            short word = (short) (data[at] & 0xFF | data[at + 1] << 8);
            at += 2;
            return word;
        }
    }
}
