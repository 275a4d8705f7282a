package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;
import java.util.ArrayList;
import java.util.List;

/** A small head at a boundary that answers what is easy. It is read, so that its bundle can be used, and not run. */
public final class Exit {
    /** Unique in the bundle, for example {@code exit4-int8}. */
    public final String id;
    /** Boundary whose tensors it takes. */
    public final int boundary;
    /** Of the spans around it. */
    public final String precision;
    /** One per file format. */
    public final List<GraphFile> graphs;
    /** How many thresholds it has. */
    public final int thresholds;
    /** Of the graph, milliseconds on the calibrating machine. */
    public final double ms;
    /** Ids of the points for which servers may ask it. */
    public final List<String> servers;

    Exit(JsonObject json) {
        id = json.string("id");
        boundary = json.int32("boundary");
        precision = json.string("precision");
        graphs = GraphFile.list(json.objects("graphs", false));
        List<JsonObject> list = json.objects("thresholds", false);
        list.forEach(Exit::readThreshold);
        thresholds = list.size();
        ms = json.number("ms");
        servers = new ArrayList<>();
        json.objects("servers", true).forEach(server -> servers.add(readServer(server)));
        json.end();
    }

    private static String readServer(JsonObject json) {
        String point = json.string("point");
        readThreshold(json.object("threshold"));
        json.number("ms");
        json.end();
        return point;
    }

    private static void readThreshold(JsonObject json) {
        for (String name : new String[] {"confidence", "drop", "certainty", "rate", "metric"}) {
            json.number(name);
        }
        json.integer("samples");
        json.end();
    }
}
