package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.bundle.CodecEntry;
import dev.cutpoint.core.bundle.GraphFile;
import dev.cutpoint.core.bundle.Point;
import dev.cutpoint.core.codec.Codec;
import dev.cutpoint.core.codec.Codecs;
import dev.cutpoint.core.error.BundleException;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.runtime.HeadRuntime;
import dev.cutpoint.core.runtime.PictureEncoder;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The device's graphs and codecs of a bundle, loaded when first used. For one thread. */
final class BundleGraphs implements AutoCloseable {
    private final Bundle bundle;
    private final List<HeadRuntime> runtimes;
    private final PictureEncoder pictures;
    private final Map<String, Graph> heads = new HashMap<>();
    private final Map<String, Codec> codecs = new HashMap<>();

    /**
     * @param runtimes best first; each graph runs on the first that can read one of its files
     * @param pictures writes picture files; null for none
     */
    BundleGraphs(Bundle bundle, List<HeadRuntime> runtimes, PictureEncoder pictures) {
        this.bundle = bundle;
        this.runtimes = runtimes;
        this.pictures = pictures;
    }

    /** The graph from the input to a boundary. */
    Graph head(int end, String precision) {
        String name = "head 0-" + end + "." + precision;
        Graph head = heads.get(name);
        if (head == null) {
            head = load(bundle.span(0, end, precision).graphs, name);
            heads.put(name, head);
        }
        return head;
    }

    /** The device's half of a codec. */
    Codec codec(String id) {
        Codec codec = codecs.get(id);
        if (codec == null) {
            CodecEntry entry = bundle.codec(id);
            Graph analysis = entry.encoder.isEmpty() ? null : load(entry.encoder, "encoder of codec " + id);
            byte[] tables = entry.tables == null ? null : bundle.read(entry.tables);
            codec = Codecs.create(
                    entry, bundle.manifest().boundaries.get(entry.start).tensors, tables, analysis, pictures);
            codecs.put(id, codec);
        }
        return codec;
    }

    /** Whether the device's share of {@code point} can run here. This client asks no exits and cuts no slices. */
    boolean supports(Point point) {
        if (point.exit != null || point.slicing != null) {
            return false;
        }
        if (point.start > 0 && !readable(bundle.span(0, point.start, point.precision).graphs)) {
            return false;
        }
        if (point.isLocal()) {
            return true;
        }
        CodecEntry codec = bundle.codec(point.codec);
        return Codecs.known(codec.codec, pictures) && (codec.encoder.isEmpty() || readable(codec.encoder));
    }

    private boolean readable(List<GraphFile> files) {
        for (GraphFile file : files) {
            for (HeadRuntime runtime : runtimes) {
                if (file.format.equals(runtime.format()) && bundle.contains(file.file)) {
                    return true;
                }
            }
        }
        return false;
    }

    private Graph load(List<GraphFile> files, String what) {
        for (HeadRuntime runtime : runtimes) {
            for (GraphFile file : files) {
                if (file.format.equals(runtime.format()) && bundle.contains(file.file)) {
                    // ONNX graphs name their weights relative to their own folder; .tflite graphs go by the order.
                    Map<String, byte[]> weights = new LinkedHashMap<>();
                    for (String path : file.weights) {
                        weights.put(path.substring(path.lastIndexOf('/') + 1), bundle.read(path));
                    }
                    return runtime.load(bundle.read(file.file), weights);
                }
            }
        }
        throw new BundleException(bundle + ": " + what + " is there in no format that a runtime of this app reads");
    }

    @Override
    public void close() {
        heads.values().forEach(Graph::close);
        codecs.values().forEach(Codec::close);
        heads.clear();
        codecs.clear();
    }
}
