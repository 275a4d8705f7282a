package dev.cutpoint.core.entropy;

import dev.cutpoint.core.error.SymbolException;
import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Symbols to bytes. Keeps its working memory from call to call, so that a call allocates little more than what it
 * returns; for one thread at a time.
 */
public final class EntropyEncoder {
    private static final int BORN = 1 << 16;
    /** The place below the lowest word, where a word is written that does not count. */
    private static final int GUARD = 1;

    private final int[] states = new int[1 << Layout.MAX_LANES_LOG2];
    private int[] values = new int[0];
    /** Of each coded symbol: table times 256, plus entry. */
    private char[] places = new char[0];
    private short[] words = new short[0];
    /** The words of the stream begin here. */
    private int bottomOfWords;
    private int coded;
    private boolean escapes;

    /**
     * The stream of {@code symbols}.
     *
     * @param model the tables
     * @param symbols of the model's type, little endian, from the buffer's position to its limit
     * @param channels first dimension of the symbols
     * @param positions second dimension
     * @throws SymbolException if the shape is not one of the model, or the buffer of another size
     */
    public byte[] encode(EntropyModel model, ByteBuffer symbols, int channels, int positions) {
        Layout layout = model.layout(channels, positions);
        Tables tables = model.tables;
        if (symbols.remaining() != layout.count * tables.type.bytes()) {
            throw new SymbolException(
                    symbols.remaining() + " bytes of symbols for (" + channels + ", " + positions + ") of type "
                            + tables.type.label());
        }
        reserve(layout.count);
        SymbolTypes.read(tables.type, symbols, values, layout.count);
        boolean dense = layout.hasSilent() && !silentAsExpected(layout, tables);
        place(layout, tables, dense);
        int header = dense ? Stream.DENSE : 0;
        if (coded == 0) {
            return new byte[] {(byte) header};
        }
        int top = encodePlaces(tables, layout.lanesLog2);
        return assemble(header | layout.lanesLog2, tables, layout, dense, 1 << layout.lanesLog2, top);
    }

    private void reserve(int count) {
        if (values.length < count) {
            values = new int[count];
            places = new char[count];
            words = new short[GUARD + count + (2 << Layout.MAX_LANES_LOG2)];
        }
    }

    private boolean silentAsExpected(Layout layout, Tables tables) {
        int at = 0;
        for (int run = 0; run <= layout.runs.length; run += 2) {
            int end = run < layout.runs.length ? layout.runs[run] : layout.count;
            for (; at < end; at++) {
                if (values[at] != tables.origin - 1 + tables.constants[layout.bases[at] >> 8]) {
                    return false;
                }
            }
            at = run < layout.runs.length ? end + layout.runs[run + 1] : at;
        }
        return true;
    }

    /** Turns the symbols that are coded into places of the encoding tables. */
    private void place(Layout layout, Tables tables, boolean dense) {
        int shift = 1 - tables.origin; // modulo 2^32, where no two values of a type meet
        if (dense || !layout.hasSilent()) {
            coded = layout.count;
            placeRun(layout.bases, 0, 0, coded, shift);
            return;
        }
        coded = 0;
        for (int run = 0; run < layout.runs.length; run += 2) {
            placeRun(layout.activeBases, layout.runs[run], coded, layout.runs[run + 1], shift);
            coded += layout.runs[run + 1];
        }
    }

    private void placeRun(char[] bases, int from, int to, int length, int shift) {
        for (int i = 0; i < length; i++) {
            int entry = values[from + i] + shift;
            places[to + i] = (char) (bases[to + i] | ((entry & ~0xFF) == 0 ? entry : 0));
        }
    }

    /** Codes all places; the words are then from bottomOfWords up to the place that is returned. */
    private int encodePlaces(Tables tables, int log2) {
        int p = GUARD + coded;
        int top = p;
        Arrays.fill(words, p, p + (2 << log2), (short) 0);
        escapes = false;
        int born = 0;
        for (int k = 0; k <= log2; k++) {
            int lanes = 1 << k;
            for (; born < lanes; born++) {
                states[born] = BORN + (words[p++] & 0xFFFF);
            }
            top = Math.max(top, p);
            int first = Layout.stageFirst(k);
            int symbols = Layout.stageSymbols(k, log2, coded);
            int whole = symbols >> k;
            p = encodeSteps(tables.encoding, first, lanes, lanes, whole, p);
            int rest = symbols - (whole << k);
            if (rest > 0) {
                p = encodeSteps(tables.encoding, first + (whole << k), lanes, rest, 1, p);
            }
        }
        bottomOfWords = p;
        return top;
    }

    /**
     * Codes {@code steps} steps, a step's symbols of {@code width} lanes in descending order, and returns the new p.
     */
    private int encodeSteps(long[] encoding, int first, int lanes, int width, int steps, int p) {
        int[] states = this.states;
        char[] places = this.places;
        short[] words = this.words;
        int flags = 0;
        for (int step = first, end = first + steps * lanes; step < end; step += lanes) {
            for (int lane = width - 1; lane >= 0; lane--) {
                long entry = encoding[places[step + lane]];
                int rest = (int) entry;
                int freq = rest & 0xFFF;
                int x = states[lane];
                words[p - 1] = (short) x; // overwritten by the next word unless this one counts
                int emit = (freq << 19) - 1 - x >>> 31;
                p -= emit;
                x >>>= emit << 4;
                int quotient = (int) (x * (entry >>> 32) >>> 32) >>> (rest >>> 25 & 15);
                states[lane] = x + quotient * (Tables.PROB_SUM - freq) + (rest >>> 12 & 0x1FFF);
                flags |= rest;
            }
        }
        escapes |= flags < 0;
        return p;
    }

    private byte[] assemble(int header, Tables tables, Layout layout, boolean dense, int lanes, int top) {
        int literals = escapes ? literals(tables, layout, dense, null, 0) : 0;
        int size = 1 + (escapes ? Stream.varintSize(literals) : 0) + 2 * (top - bottomOfWords) + literals;
        for (int lane = 0; lane < lanes; lane++) {
            size += states[lane] < 1 << 23 ? 3 : 4;
        }
        byte[] out = new byte[size];
        int at = 0;
        out[at++] = (byte) (header | (escapes ? Stream.ESCAPES : 0));
        if (escapes) {
            at = Stream.putVarint(out, at, literals);
        }
        for (int lane = 0; lane < lanes; lane++) {
            at = Stream.putState(out, at, states[lane]);
        }
        for (int p = bottomOfWords; p < top; p++) {
            out[at++] = (byte) words[p];
            out[at++] = (byte) (words[p] >> 8);
        }
        if (escapes) {
            literals(tables, layout, dense, out, at);
        }
        return out;
    }

    /**
     * Writes the escaped values to {@code out} from {@code at} on, unless it is null, and returns their size in bytes.
     */
    private int literals(Tables tables, Layout layout, boolean dense, byte[] out, int at) {
        int start = at;
        int run = 0;
        int position = layout.runs.length > 0 && !dense ? layout.runs[0] : 0;
        int left = layout.runs.length > 0 && !dense ? layout.runs[1] : layout.count;
        for (int i = 0; i < coded; i++) {
            if (left == 0) {
                run += 2;
                position = layout.runs[run];
                left = layout.runs[run + 1];
            }
            if ((int) tables.encoding[places[i]] < 0) {
                int zigzag = values[position] << 1 ^ values[position] >> 31;
                at = out == null ? at + Stream.varintSize(zigzag) : Stream.putVarint(out, at, zigzag);
            }
            position++;
            left--;
        }
        return at - start;
    }
}
