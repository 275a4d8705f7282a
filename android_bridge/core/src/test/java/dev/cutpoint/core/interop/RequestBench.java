package dev.cutpoint.core.interop;

import com.sun.management.ThreadMXBean;
import dev.cutpoint.core.bundle.Bundle;
import dev.cutpoint.core.client.CutpointClient;
import dev.cutpoint.core.client.InferenceResult;
import dev.cutpoint.core.client.Mode;
import dev.cutpoint.core.client.Picture;
import dev.cutpoint.core.policy.Objective;
import dev.cutpoint.core.policy.StaticPolicy;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.runtime.HeadRuntime;
import dev.cutpoint.core.support.PrecomputedRuntime;
import dev.cutpoint.core.tensor.Tensor;
import java.io.File;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What a request costs beside head and tail, against a real server: {@code URL BUNDLE RECORDING PICTURE POINT}; prints
 * JSON. Graphs answer from memory, without allocating.
 */
public final class RequestBench {
    private static final int WARM = 3000;
    private static final int REQUESTS = 2000;

    private RequestBench() {}

    public static void main(String[] arguments) throws Exception {
        byte[] rgb = Files.readAllBytes(Paths.get(arguments[3]));
        int side = (int) Math.round(Math.sqrt(rgb.length / 3.0));
        Picture picture = Picture.ofRgb(rgb, side, side);
        String point = arguments[4];
        try (Bundle bundle = Bundle.open(new File(arguments[1]));
                CutpointClient client = CutpointClient.builder()
                        .server(arguments[0])
                        .bundle(bundle)
                        .mode(Mode.EDGE)
                        .objective(Objective.builder().accuracyFloor(0).build())
                        .policy(new StaticPolicy(bundle.point(point), bundle.point(point)))
                        .runtime(new Remembering(new PrecomputedRuntime(Paths.get(arguments[2]))))
                        .open()) {
            for (int i = 0; i < WARM; i++) {
                client.infer(picture).get();
            }
            Map<String, Long> before = allocated();
            double[] total = new double[REQUESTS];
            double[] overhead = new double[REQUESTS];
            int bytes = 0;
            for (int i = 0; i < REQUESTS; i++) {
                InferenceResult result = client.infer(picture).get();
                total[i] = result.timing.total;
                overhead[i] = result.timing.total - result.timing.prepare - result.timing.head - result.timing.encode
                        - result.timing.decode - result.timing.tail;
                bytes = result.bytesSent;
            }
            Map<String, Long> after = allocated();
            System.out.printf("{\"bytes_sent\": %d, \"total_ms\": %.3f, \"overhead_ms\": %.3f", bytes, median(total),
                    median(overhead));
            for (String group : new String[] {"cutpoint", "cutpoint-device", "okhttp"}) {
                long grown = after.getOrDefault(group, 0L) - before.getOrDefault(group, 0L);
                System.out.printf(", \"%s_allocated_bytes\": %d", group.replace('-', '_'), grown / REQUESTS);
            }
            System.out.println("}");
        }
        System.exit(0);
    }

    /** Bytes that the threads of each kind have allocated so far. */
    private static Map<String, Long> allocated() {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        Map<String, Long> groups = new HashMap<>();
        for (Thread thread : Thread.getAllStackTraces().keySet()) {
            String name = thread.getName().startsWith("OkHttp") ? "okhttp" : thread.getName();
            groups.merge(name, threads.getThreadAllocatedBytes(thread.getId()), Long::sum);
        }
        return groups;
    }

    private static double median(double[] values) {
        Arrays.sort(values);
        return values[values.length / 2];
    }

    /** Gives the outputs of a graph's last run again: the picture is always the same one. */
    private static final class Remembering implements HeadRuntime {
        private final HeadRuntime inner;

        Remembering(HeadRuntime inner) {
            this.inner = inner;
        }

        @Override
        public String name() {
            return inner.name();
        }

        @Override
        public String format() {
            return inner.format();
        }

        @Override
        public Graph load(byte[] graph, Map<String, byte[]> weights) {
            Graph loaded = inner.load(graph, weights);
            return new Graph() {
                private Tensor first;
                private List<Tensor> outputs;

                @Override
                public List<String> inputNames() {
                    return loaded.inputNames();
                }

                @Override
                public List<Tensor> run(List<Tensor> inputs) {
                    if (outputs == null || !first.data().equals(inputs.get(0).data())) {
                        outputs = loaded.run(inputs);
                        first = inputs.get(0);
                    }
                    return outputs;
                }

                @Override
                public void close() {
                    loaded.close();
                }
            };
        }
    }
}
