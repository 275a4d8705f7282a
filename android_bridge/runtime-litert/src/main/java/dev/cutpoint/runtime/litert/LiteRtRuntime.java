package dev.cutpoint.runtime.litert;

import dev.cutpoint.core.error.GraphException;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.runtime.HeadRuntime;
import dev.cutpoint.core.runtime.TfliteFile;
import java.nio.ByteBuffer;
import java.util.Map;
import org.tensorflow.lite.Interpreter;

/** Heads on LiteRT, {@code com.google.ai.edge.litert:litert}, which the app brings. */
public final class LiteRtRuntime implements HeadRuntime {
    private final int threads;

    /**
     * @param threads within one call
     */
    public LiteRtRuntime(int threads) {
        this.threads = threads;
    }

    @Override
    public String name() {
        return "litert";
    }

    @Override
    public String format() {
        return "tflite";
    }

    @Override
    public Graph load(byte[] graph, Map<String, byte[]> weights) {
        ByteBuffer joined = TfliteFile.join(graph, weights);
        try {
            Interpreter interpreter = new Interpreter(joined, new Interpreter.Options().setNumThreads(threads));
            interpreter.allocateTensors();
            return new LiteRtGraph(interpreter);
        } catch (IllegalArgumentException | IllegalStateException error) {
            throw new GraphException("LiteRT refuses the graph: " + error.getMessage(), error);
        }
    }
}
