package dev.cutpoint.core.support;

import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.bundle.CodecEntry;
import dev.cutpoint.core.bundle.GraphFile;
import dev.cutpoint.core.bundle.Span;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.runtime.HeadRuntime;
import dev.cutpoint.core.tensor.ElementType;
import dev.cutpoint.core.tensor.Tensor;
import dev.cutpoint.core.tensor.TensorSpec;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;

/**
 * For each graph of a bundle's device part outputs of the right shapes, with values that the inputs determine. Computes
 * nothing of sense: for tests of what lies around the graphs.
 */
public final class ShapedRuntime implements HeadRuntime {
    /** While it is there, graphs wait for it. */
    public volatile CountDownLatch gate;
    /** While it is there, graphs throw it. */
    public volatile RuntimeException failure;
    /** A permit for each run that met the gate. */
    public final Semaphore entered = new Semaphore(0);

    private final Map<ByteBuffer, List<TensorSpec>> outputs = new HashMap<>();

    public ShapedRuntime(Bundle bundle) {
        for (Span span : bundle.manifest().spans) {
            add(bundle, span.graphs, bundle.manifest().boundaries.get(span.end).tensors);
        }
        for (CodecEntry codec : bundle.manifest().codecs) {
            add(bundle, codec.encoder, codec.symbols);
        }
    }

    private void add(Bundle bundle, List<GraphFile> files, List<TensorSpec> specs) {
        for (GraphFile file : files) {
            if (file.format.equals(format()) && bundle.contains(file.file)) {
                outputs.put(ByteBuffer.wrap(bundle.read(file.file)), specs);
            }
        }
    }

    @Override
    public String name() {
        return "shaped";
    }

    @Override
    public String format() {
        return "onnx";
    }

    @Override
    public Graph load(byte[] graph, Map<String, byte[]> weights) {
        List<TensorSpec> specs = outputs.get(ByteBuffer.wrap(graph));
        return new Graph() {
            @Override
            public List<String> inputNames() {
                return Collections.emptyList();
            }

            @Override
            public List<Tensor> run(List<Tensor> inputs) {
                waitAtGate();
                if (failure != null) {
                    throw failure;
                }
                Random random = new Random(Arrays.hashCode(inputs.stream().map(Tensor::data).toArray()));
                List<Tensor> made = new ArrayList<>();
                for (TensorSpec spec : specs) {
                    made.add(spec.type() == ElementType.FLOAT32 ? floats(spec, random) : small(spec, random));
                }
                return made;
            }

            @Override
            public void close() {}
        };
    }

    private void waitAtGate() {
        CountDownLatch closed = gate;
        if (closed != null) {
            entered.release();
            try {
                closed.await();
            } catch (InterruptedException error) {
                throw new IllegalStateException(error);
            }
        }
    }

    private static Tensor floats(TensorSpec spec, Random random) {
        float[] values = new float[(int) spec.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return Tensor.ofFloats(values, spec.shape());
    }

    private static Tensor small(TensorSpec spec, Random random) {
        ByteBuffer values = ByteBuffer.allocate((int) spec.bytes());
        for (int i = 0; i < values.capacity(); i += spec.type().bytes()) {
            values.put(i, (byte) random.nextInt(3));
        }
        return Tensor.of(spec.type(), values, spec.shape());
    }
}
