package dev.cutpoint.runtime.onnx;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.cutpoint.core.error.GraphException;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.runtime.HeadRuntime;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.util.Map;

/** Heads on ONNX Runtime for Android, {@code com.microsoft.onnxruntime:onnxruntime-android}, which the app brings. */
public final class OnnxRuntime implements HeadRuntime {
    private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    private final File scratch;
    private final int threads;

    /**
     * @param scratch a folder that only the app can write, for instance {@code context.getCacheDir()}: a graph with
     *     external data can only be loaded from files, which are there while it is loaded
     * @param threads within one call
     */
    public OnnxRuntime(File scratch, int threads) {
        this.scratch = scratch;
        this.threads = threads;
    }

    @Override
    public String name() {
        return "onnxruntime";
    }

    @Override
    public String format() {
        return "onnx";
    }

    @Override
    public Graph load(byte[] graph, Map<String, byte[]> weights) {
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(threads);
            OrtSession session = weights.isEmpty()
                    ? environment.createSession(graph, options)
                    : loadFromFiles(graph, weights, options);
            return new OnnxGraph(environment, session);
        } catch (OrtException | IOException error) {
            throw new GraphException("ONNX Runtime refuses the graph: " + error.getMessage(), error);
        }
    }

    private OrtSession loadFromFiles(byte[] graph, Map<String, byte[]> weights, OrtSession.SessionOptions options)
            throws OrtException, IOException {
        File folder = File.createTempFile("cutpoint", "", scratch);
        if (!folder.delete() || !folder.mkdir()) {
            throw new IOException(folder + " cannot be made");
        }
        try {
            for (Map.Entry<String, byte[]> file : weights.entrySet()) {
                write(new File(folder, file.getKey()), file.getValue());
            }
            File model = new File(folder, "graph.onnx");
            write(model, graph);
            return environment.createSession(model.getPath(), options);
        } finally {
            File[] files = folder.listFiles();
            for (File file : files == null ? new File[0] : files) {
                file.delete();
            }
            folder.delete();
        }
    }

    private static void write(File file, byte[] data) throws IOException {
        try (FileOutputStream out = new FileOutputStream(file)) {
            out.write(data);
        }
    }
}
