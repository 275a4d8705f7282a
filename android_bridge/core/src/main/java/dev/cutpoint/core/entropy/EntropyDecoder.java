package dev.cutpoint.core.entropy;

import dev.cutpoint.core.error.BitstreamException;
import java.nio.ByteBuffer;
import java.util.Arrays;

/** Bytes to symbols. Keeps its working memory from call to call; for one thread at a time. */
public final class EntropyDecoder {
    private final int[] states = new int[1 << Layout.MAX_LANES_LOG2];
    private byte[] entries = new byte[0];
    private short[] words = new short[0];

    /**
     * The symbols in {@code data}.
     *
     * @param model the tables
     * @param data the stream, all of it
     * @param channels first dimension of the symbols
     * @param positions second dimension
     * @return the symbols in the model's type, little endian
     * @throws BitstreamException for any bytes that no encoder writes for this model and shape
     * @throws dev.cutpoint.core.error.SymbolException if the shape is not one of the model
     */
    public ByteBuffer decode(EntropyModel model, byte[] data, int channels, int positions) {
        Layout layout = model.layout(channels, positions);
        Tables tables = model.tables;
        if (data.length == 0 || (data[0] & Stream.RESERVED) != 0) {
            throw new BitstreamException("no header of this version");
        }
        int header = data[0];
        boolean dense = (header & Stream.DENSE) != 0;
        if (dense && !layout.hasSilent()) {
            throw new BitstreamException("dense, but no position is silent");
        }
        char[] bases = dense ? layout.bases : layout.activeBases;
        Stream.Reader reader = new Stream.Reader(data, 1, data.length);
        if (bases.length == 0) {
            if (data.length != 1 || (header & ~Stream.DENSE) != 0) {
                throw new BitstreamException("bytes where nothing is coded");
            }
        } else {
            int log2 = header & Stream.LANES;
            if (log2 > Layout.MAX_LANES_LOG2 || bases.length < Layout.stageFirst(log2)) {
                throw new BitstreamException("more lanes than the symbols allow");
            }
            int literals = 0;
            if ((header & Stream.ESCAPES) != 0) {
                literals = reader.varint();
                if (literals <= 0 || literals > reader.left()) {
                    throw new BitstreamException("the escapes are longer than the data");
                }
            }
            reader.end -= literals;
            decodeEntries(reader, bases, tables.decoding(), log2);
            reader.end += literals;
        }
        int[] values = values(layout, tables, dense, reader);
        if (reader.left() != 0) {
            throw new BitstreamException("escapes are left over");
        }
        return SymbolTypes.write(tables.type, values, layout.count);
    }

    private void decodeEntries(Stream.Reader reader, char[] bases, int[] decoding, int log2) {
        int count = bases.length;
        int lanes = 1 << log2;
        for (int lane = 0; lane < lanes; lane++) {
            states[lane] = reader.state();
        }
        int stored = reader.left() / 2;
        if ((reader.left() & 1) != 0 || stored > count) {
            throw new BitstreamException("the words are not as many as can be");
        }
        // Lanes that retire give words back: room for them below, and zeros above for reads beyond the end.
        if (words.length < stored + 2 * lanes || entries.length < count) {
            words = new short[stored + 2 * lanes];
            entries = new byte[count];
        }
        int p = lanes;
        int bottom = lanes + stored;
        for (int i = lanes; i < bottom; i++) {
            words[i] = reader.word();
        }
        Arrays.fill(words, bottom, bottom + lanes, (short) 0);
        int top = p;
        for (int k = log2; k >= 0; k--) {
            int first = Layout.stageFirst(k);
            int symbols = Layout.stageSymbols(k, log2, count);
            for (int step = first + (symbols - 1 >> k << k); step >= first; step -= 1 << k) {
                p = decodeStep(decoding, bases, step, Math.min(1 << k, first + symbols - step), p);
                if (p > bottom) {
                    throw new BitstreamException("the words end early");
                }
            }
            top = Math.max(top, p);
            for (int lane = (1 << k) - 1; lane >= 1 << k >> 1; lane--) {
                if (states[lane] >> 16 != 1) {
                    throw new BitstreamException("a lane does not end as it began");
                }
                words[--p] = (short) states[lane];
            }
        }
        boolean leftOver = top != bottom;
        for (int i = p; i < bottom; i++) {
            leftOver |= words[i] != 0;
        }
        if (leftOver) {
            throw new BitstreamException("words are left over");
        }
    }

    private int decodeStep(int[] decoding, char[] bases, int step, int width, int p) {
        for (int lane = 0; lane < width; lane++) {
            int x = states[lane];
            int entry = decoding[bases[step + lane] << 4 | x & Tables.PROB_SUM - 1];
            entries[step + lane] = (byte) entry;
            x = (entry >>> 20) * (x >> Tables.PROB_BITS) + (entry >>> 8 & 0xFFF);
            if (x < Stream.LOW) {
                x = x << 16 | words[p++] & 0xFFFF;
            }
            states[lane] = x;
        }
        return p;
    }

    /**
     * The symbols from their entries, from the constants of silent positions, and from the escapes in {@code reader}.
     */
    private int[] values(Layout layout, Tables tables, boolean dense, Stream.Reader reader) {
        int[] values = new int[layout.count];
        int next = 0;
        for (int i = 0; i < values.length; i++) {
            int constant = dense ? -1 : tables.constants[layout.bases[i] >> 8];
            int entry = constant >= 0 ? constant : entries[next++] & 0xFF;
            values[i] = entry > 0 ? tables.origin - 1 + entry : escaped(tables, reader);
        }
        return values;
    }

    private static int escaped(Tables tables, Stream.Reader reader) {
        int zigzag = reader.varint();
        int value = zigzag >>> 1 ^ -(zigzag & 1);
        if (!SymbolTypes.holds(tables.type, value)) {
            throw new BitstreamException("an escape's value is beyond the symbols' type");
        }
        return value;
    }
}
