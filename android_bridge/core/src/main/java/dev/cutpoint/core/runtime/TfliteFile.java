package dev.cutpoint.core.runtime;

import dev.cutpoint.core.error.GraphException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;

/**
 * A {@code .tflite} file and the weights that it shares with others, as the one piece of memory that LiteRT reads.
 *
 * <p>In such a file a constant may have an offset and a size in place of values. Offsets count from the beginning of the
 * file and lead behind the structure that the file consists of otherwise; there the weights are put, file after file.
 */
public final class TfliteFile {
    /** A graph with weights behind it, and each of their files, has a multiple of so many bytes. */
    private static final int ALIGN = 64;
    /** Most operators and constants of a graph, so that one that repeats itself without end is refused at once. */
    private static final int TABLES = 1 << 17;

    // Fields by their place in a table of the schema.
    private static final int SUBGRAPHS = 2; // of the model
    private static final int BUFFERS = 4; // of the model
    private static final int OPERATORS = 3; // of a subgraph
    private static final int BUFFER_OFFSET = 1; // of a constant; the size comes next
    private static final int OPTIONS_OFFSET = 9; // of an operator's own options; the size comes next

    private final ByteBuffer graph;
    private final long end;
    private int left = TABLES;

    private TfliteFile(byte[] graph, long end) {
        this.graph = ByteBuffer.wrap(graph).order(ByteOrder.LITTLE_ENDIAN);
        this.end = end;
    }

    /**
     * The graph with its weights behind it, outside of the heap.
     *
     * @param graph content of the graph file
     * @param weights file name → content, in the order in which the bundle lists them
     * @throws GraphException if the graph cannot be read, a file is not of whole blocks, or the graph refers to what lies
     *     behind the last of them. LiteRT would read there: its sum of offset and size overflows.
     */
    public static ByteBuffer join(byte[] graph, Map<String, byte[]> weights) {
        long length = graph.length;
        for (Map.Entry<String, byte[]> file : weights.entrySet()) {
            checkBlocks("the graph", graph);
            checkBlocks(file.getKey(), file.getValue());
            length += file.getValue().length;
        }
        if (length > Integer.MAX_VALUE) {
            throw new GraphException("a .tflite graph with " + length + " bytes of weights is too large");
        }
        try {
            new TfliteFile(graph, length).check(weights.size());
        } catch (IndexOutOfBoundsException error) {
            throw new GraphException("LiteRT refuses the graph: it cannot be read: " + error.getMessage(), error);
        }
        ByteBuffer joined = ByteBuffer.allocateDirect((int) length).order(ByteOrder.nativeOrder());
        joined.put(graph);
        weights.values().forEach(joined::put);
        joined.flip();
        return joined;
    }

    private static void checkBlocks(String name, byte[] data) {
        if (data.length % ALIGN != 0) {
            throw new GraphException(
                    name + " has " + data.length + " bytes, no multiple of " + ALIGN + ": write the bundle anew");
        }
    }

    private void check(int files) {
        int model = indirect(0);
        checkTables(model, BUFFERS, BUFFER_OFFSET, files);
        int place = field(model, SUBGRAPHS);
        for (int i = 0, count = count(place); i < count; i++) {
            checkTables(entry(place, i), OPERATORS, OPTIONS_OFFSET, files);
        }
    }

    /** Checks what the tables refer to that a list of {@code owner} has. */
    private void checkTables(int owner, int list, int offsetField, int files) {
        int place = field(owner, list);
        int count = count(place);
        left -= count;
        for (int i = 0; i < count; i++) {
            int table = entry(place, i);
            long offset = number(table, offsetField);
            long size = number(table, offsetField + 1);
            // Both are unsigned: what is below 0 is beyond all files.
            if (offset < 0 || size < 0 || size > end || offset > end - size) {
                throw new GraphException("the graph refers to 0x" + Long.toHexString(size) + " bytes at 0x"
                        + Long.toHexString(offset) + ", and with " + files + " files of weights has 0x"
                        + Long.toHexString(end) + ": they are incomplete, or of another graph");
            }
        }
    }

    /** Where a field lies; 0 if the table does not have it. */
    private int field(int table, int number) {
        int places = table - graph.getInt(table);
        int wanted = 4 + 2 * number;
        int at = wanted < unsignedShort(places) ? unsignedShort(places + wanted) : 0;
        return at == 0 ? 0 : table + at;
    }

    private int count(int place) {
        int count = place == 0 ? 0 : graph.getInt(indirect(place));
        if (count < 0 || count > left) {
            throw new GraphException("LiteRT refuses the graph: it cannot be read: more than " + TABLES + " parts");
        }
        return count;
    }

    private int entry(int place, int number) {
        return indirect(indirect(place) + 4 + 4 * number);
    }

    private int indirect(int at) {
        long to = at + (graph.getInt(at) & 0xffffffffL);
        if (to > graph.capacity()) {
            throw new IndexOutOfBoundsException("nothing is at " + to);
        }
        return (int) to;
    }

    private long number(int table, int field) {
        int place = field(table, field);
        return place == 0 ? 0 : graph.getLong(place);
    }

    private int unsignedShort(int at) {
        return graph.getShort(at) & 0xffff;
    }
}
