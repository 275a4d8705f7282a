package dev.cutpoint.runtime.litert;

import dev.cutpoint.core.error.GraphException;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.runtime.HeadRuntime;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
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
        if (!weights.isEmpty()) {
            throw new GraphException("a .tflite graph carries its own weights");
        }
        ByteBuffer direct = ByteBuffer.allocateDirect(graph.length).order(ByteOrder.nativeOrder());
        direct.put(graph);
        direct.flip();
        try {
            Interpreter interpreter = new Interpreter(direct, new Interpreter.Options().setNumThreads(threads));
            interpreter.allocateTensors();
            return new LiteRtGraph(interpreter);
        } catch (IllegalArgumentException | IllegalStateException error) {
            throw new GraphException("LiteRT refuses the graph: " + error.getMessage(), error);
        }
    }
}
