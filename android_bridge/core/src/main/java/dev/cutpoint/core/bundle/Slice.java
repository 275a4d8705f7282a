package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;
import java.util.Arrays;
import java.util.List;

/** Some rows of a span's end. It is read, so that its bundle can be used, and not run. */
final class Slice {
    /** Boundary of which it takes rows. */
    final int start;
    /** Boundary of which it gives rows. */
    final int end;
    /** As of spans. */
    final String precision;
    /** Of every tensor of the end: the first, and the one behind the last. */
    final int[] rows;
    /** Of each tensor of the start. */
    final List<int[]> needs;
    /** One per file format. */
    final List<GraphFile> graphs;

    Slice(JsonObject json) {
        start = json.int32("start");
        end = json.int32("end");
        precision = json.string("precision");
        rows = json.pair("rows");
        needs = json.pairs("needs");
        graphs = GraphFile.list(json.objects("graphs", false));
        json.end();
    }

    /** What identifies a slice in its bundle. */
    static String key(int start, int end, String precision, int[] rows) {
        return Span.key(start, end, precision) + Arrays.toString(rows);
    }
}
