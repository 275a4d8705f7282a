package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** A graph in the format of one runtime. */
public final class GraphFile {
    /** {@code onnx} or {@code tflite}. */
    public final String format;
    /** Path in the bundle. */
    public final String file;
    /**
     * Files that spans share; same folder as {@link #file}. {@code onnx}: external data, which the graph names. {@code
     * tflite}: what follows the graph in memory, in this order.
     */
    public final List<String> weights;

    private GraphFile(JsonObject json) {
        format = json.choice("format", "onnx", "tflite");
        file = json.string("file");
        weights = Collections.unmodifiableList(json.strings("weights", true));
        json.end();
    }

    static List<GraphFile> list(List<JsonObject> objects) {
        List<GraphFile> files = new ArrayList<>();
        for (JsonObject json : objects) {
            files.add(new GraphFile(json));
        }
        return Collections.unmodifiableList(files);
    }

    /** All files the graph needs. */
    List<String> paths() {
        List<String> paths = new ArrayList<>(weights);
        paths.add(0, file);
        return paths;
    }
}
