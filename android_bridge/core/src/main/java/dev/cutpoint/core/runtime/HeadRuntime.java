package dev.cutpoint.core.runtime;

import java.util.Map;

/** Loads graphs of one file format. The app brings ONNX Runtime or LiteRT; adapters are in modules of their own. */
public interface HeadRuntime {
    /** For people. */
    String name();

    /** The file format that it reads, as in a bundle's manifest: {@code onnx} or {@code tflite}. */
    String format();

    /**
     * Loads a graph from memory.
     *
     * @param graph content of the graph file
     * @param weights content of the files that {@code GraphFile.weights} lists, by name and in that order
     * @throws dev.cutpoint.core.error.GraphException if the runtime refuses the file
     */
    Graph load(byte[] graph, Map<String, byte[]> weights);
}
