package dev.cutpoint.core.entropy;

import dev.cutpoint.core.error.TableException;
import dev.cutpoint.core.tensor.ElementType;

/**
 * Frequency tables as shipped, and as the coders look things up in them.
 *
 * <p>A table gives each of 256 entries a frequency with sum 4096. Entry 0 is the escape, entry e from 1 to 255 stands
 * for the value {@code origin + e - 1}.
 */
final class Tables {
    static final int PROB_BITS = 12;
    static final int PROB_SUM = 1 << PROB_BITS;
    static final int ENTRIES = 256;
    static final int MAX_TABLES = 256;

    final int count;
    final int origin;
    final ElementType type;
    /** The only entry of a silent table, whose positions need no coding; -1 for the others. */
    final short[] constants;
    /**
     * What the encoder needs of an entry, without a division: a reciprocal r in the upper half,
     * {@code freq | bias << 12 | shift << 25 | escaped << 31} in the lower, so that
     * {@code x + (x * r >> 32 >> shift) * (4096 - freq) + bias} is the next state for every {@code x < freq << 19}.
     * With s = ceil(log2 freq) - 1 and r = floor(2^(32 + s) / freq) + 1 the quotient is exact (Granlund &amp;
     * Montgomery, PLDI 1994). For freq = 1 the reciprocal 2^32 - 1 gives x - 1, and the bias makes up for it.
     */
    final long[] encoding;

    private final short[] frequencies;
    private int[] decoding;

    /**
     * @param frequencies 256 for each table
     * @param origin the value that entry 1 stands for
     * @throws TableException if the tables break a rule of the format
     */
    Tables(short[] frequencies, int origin, ElementType type) {
        this.frequencies = frequencies;
        this.count = frequencies.length / ENTRIES;
        this.origin = origin;
        this.type = type;
        this.constants = new short[count];
        this.encoding = new long[frequencies.length];
        if (!SymbolTypes.holds(type, origin)) {
            throw new TableException("origin " + origin + " is not of type " + type.label());
        }
        for (int table = 0; table < count; table++) {
            check(table * ENTRIES);
            constants[table] = constantOf(table * ENTRIES);
            prepareEncoding(table * ENTRIES);
        }
    }

    private void check(int base) {
        int sum = 0;
        for (int e = 0; e < ENTRIES; e++) {
            int frequency = frequencies[base + e] & 0xFFFF;
            sum += frequency;
            if (frequency > 0 && e > 0 && !SymbolTypes.holds(type, (long) origin + e - 1)) {
                throw new TableException("a table gives a frequency to a value beyond " + type.label());
            }
        }
        if (sum != PROB_SUM) {
            throw new TableException("a table's frequencies do not sum to " + PROB_SUM);
        }
        if (frequencies[base] == 0) {
            throw new TableException("a table has no escape");
        }
        if (frequencies[base] == PROB_SUM) {
            throw new TableException("a table has no value");
        }
    }

    private short constantOf(int base) {
        short only = -1;
        for (int e = 1; e < ENTRIES; e++) {
            if (frequencies[base + e] != 0) {
                if (only >= 0) {
                    return -1;
                }
                only = (short) e;
            }
        }
        return frequencies[base] == 1 ? only : -1;
    }

    private void prepareEncoding(int base) {
        int start = 0;
        for (int e = 0; e < ENTRIES; e++) {
            int own = frequencies[base + e];
            // An entry without slots shares those of the escape.
            boolean escaped = e == 0 || own == 0;
            int freq = own == 0 ? frequencies[base] : own;
            int shift = Math.max(0, 31 - Integer.numberOfLeadingZeros(freq - 1));
            long reciprocal = freq == 1 ? 0xFFFFFFFFL : (1L << 32 + shift) / freq + 1;
            int bias = (escaped ? 0 : start) + (freq == 1 ? PROB_SUM - 1 : 0);
            long rest = freq | bias << 12 | (long) shift << 25 | (escaped ? 1L << 31 : 0);
            encoding[base + e] = reciprocal << 32 | rest;
            start += own;
        }
    }

    /**
     * For each table and each of its 4096 slots {@code entry | (slot - start) << 8 | freq << 20}. Built when first
     * used.
     */
    synchronized int[] decoding() {
        if (decoding == null) {
            decoding = new int[count << PROB_BITS];
            int slot = 0;
            for (int i = 0; i < frequencies.length; i++) {
                for (int k = 0; k < frequencies[i]; k++) {
                    decoding[slot++] = i & 0xFF | k << 8 | frequencies[i] << 20;
                }
            }
        }
        return decoding;
    }
}
