package dev.cutpoint.core.entropy;

import dev.cutpoint.core.error.TableException;
import dev.cutpoint.core.tensor.ElementType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/** An entropy model's file: a header, then table map and frequencies in a zlib stream. */
final class ModelFile {
    private static final int MAGIC = 'C' | 'P' << 8 | 'E' << 16 | 'T' << 24;
    private static final int VERSION = 1;
    private static final int HEADER_SIZE = 22;
    /** Places of a table map. Bounds the memory that a small, hostile file can ask for. */
    private static final int MAX_MAP = 1 << 24;

    private ModelFile() {}

    static EntropyModel parse(byte[] data) {
        if (data.length < HEADER_SIZE) {
            throw new TableException("entropy tables are cut short");
        }
        ByteBuffer header = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        if (header.getInt() != MAGIC) {
            throw new TableException("these bytes are not entropy tables");
        }
        int version = header.get();
        if (version != VERSION) {
            throw new TableException("entropy tables have version " + version + "; this cutpoint reads " + VERSION);
        }
        ElementType type = SymbolTypes.ofCode(header.get() & 0xFF);
        int rate = header.getShort() & 0xFFFF;
        int origin = header.getInt();
        long channels = header.getInt() & 0xFFFFFFFFL;
        long positions = header.getInt() & 0xFFFFFFFFL;
        int count = header.getShort() & 0xFFFF;
        if (type == null || count < 1 || count > Tables.MAX_TABLES) {
            throw new TableException("entropy tables have an unknown type, or none or too many tables");
        }
        if (channels < 1 || channels > MAX_MAP || Math.max(positions, 1) > MAX_MAP / channels) {
            throw new TableException("entropy tables have a map of more than " + MAX_MAP + " places, or of none");
        }
        int places = (int) (channels * Math.max(positions, 1));
        byte[] body = inflate(data, places + 2 * Tables.ENTRIES * count);
        byte[] map = Arrays.copyOf(body, places);
        for (byte table : map) {
            if ((table & 0xFF) >= count) {
                throw new TableException("the table map names a table that is not there");
            }
        }
        Tables tables = new Tables(frequencies(body, places, count), origin, type);
        return new EntropyModel(tables, map, (int) channels, (int) positions, rate);
    }

    /** Low bytes and high bytes of the frequencies lie apart, table by table. */
    private static short[] frequencies(byte[] body, int at, int count) {
        short[] frequencies = new short[count * Tables.ENTRIES];
        for (int i = 0; i < frequencies.length; i++) {
            int low = at + 2 * (i & ~0xFF) + (i & 0xFF);
            frequencies[i] = (short) (body[low] & 0xFF | (body[low + Tables.ENTRIES] & 0xFF) << 8);
        }
        return frequencies;
    }

    private static byte[] inflate(byte[] data, int size) {
        Inflater inflater = new Inflater();
        try {
            inflater.setInput(data, HEADER_SIZE, data.length - HEADER_SIZE);
            byte[] body = new byte[size];
            int got = 0;
            while (got < size && !inflater.finished()) {
                int more = inflater.inflate(body, got, size - got);
                if (more == 0) {
                    break; // the stream ends early, or wants a dictionary
                }
                got += more;
            }
            // One byte more than there may be: the stream must be at its end.
            boolean more = inflater.inflate(new byte[1]) > 0;
            if (got < size || more || !inflater.finished() || inflater.getRemaining() > 0) {
                throw new TableException("entropy tables are longer or shorter than they say");
            }
            return body;
        } catch (DataFormatException error) {
            throw new TableException("entropy tables are damaged: " + error.getMessage(), error);
        } finally {
            inflater.end();
        }
    }
}
