package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;
import java.util.List;

/** The part of the model between two boundaries at one precision, a graph file per runtime. */
public final class Span {
    /** Boundary whose tensors it takes. */
    public final int start;
    /** Boundary whose tensors it gives. */
    public final int end;
    /** {@code fp32}, {@code fp16} or {@code int8}. */
    public final String precision;
    /** One per file format. */
    public final List<GraphFile> graphs;

    Span(JsonObject json) {
        start = json.int32("start");
        end = json.int32("end");
        precision = json.string("precision");
        graphs = GraphFile.list(json.objects("graphs", false));
        json.end();
    }

    /** What identifies a span in its bundle. */
    static String key(int start, int end, String precision) {
        return start + "-" + end + "." + precision;
    }
}
