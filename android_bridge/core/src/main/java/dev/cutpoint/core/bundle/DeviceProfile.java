package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** What the device's share of points costs on one device. */
public final class DeviceProfile {
    /** Of the device, unique in a bundle. */
    public final String name;
    /** Processor, cores, memory and versions, for people. */
    public final String machine;
    /** Of the runtime. */
    public final long threads;
    /** How many times slower than in calibration, for points whose head or encoder is not listed. */
    public final double scale;
    /** Of an estimate; empty where it was measured. */
    public final String source;
    /** Hash of the bundle that it was measured with; empty for an estimate. */
    public final String bundle;
    /** Heads that were measured. */
    public final List<Cost> heads;
    /** Encoders that were measured. */
    public final List<Cost> encoders;

    DeviceProfile(JsonObject json) {
        name = json.string("name");
        machine = json.string("machine", "");
        threads = json.integer("threads", 1);
        scale = json.number("scale", 1);
        source = json.string("source", "");
        bundle = json.string("bundle", "");
        List<Cost> heads = new ArrayList<>();
        for (JsonObject head : json.objects("heads", true)) {
            heads.add(Cost.ofHead(head));
        }
        List<Cost> encoders = new ArrayList<>();
        for (JsonObject encoder : json.objects("encoders", true)) {
            encoders.add(Cost.ofEncoder(encoder));
        }
        this.heads = Collections.unmodifiableList(heads);
        this.encoders = Collections.unmodifiableList(encoders);
        json.end();
    }

    /** What is wrong with it; null for nothing. */
    String problem() {
        if (name.isEmpty()) {
            return "a device profile without a name";
        }
        if (!(scale > 0) || Double.isInfinite(scale)) {
            return "device profile '" + name + "': its scale is not above 0";
        }
        List<Cost> costs = new ArrayList<>(heads);
        costs.addAll(encoders);
        for (Cost cost : costs) {
            if (!cost.sensible()) {
                return "device profile '" + name + "': a time or an energy is below 0";
            }
        }
        return null;
    }

    /** A head, or an encoder at one level. */
    public static final class Cost {
        /** Boundary where the head ends; of an encoder -1. */
        public final long end;
        /** Of the head; null for an encoder. */
        public final String precision;
        /** The encoder's codec; null for a head. */
        public final String codec;
        /** Of the codec. */
        public final long level;
        /** Of the graph file: {@code onnx} or {@code tflite}; null for a codec without graph. */
        public final String format;
        /** Of the graph file; empty for a codec without graph. */
        public final String sha256;
        /** Median, milliseconds. */
        public final double p50Ms;
        /** 95th percentile, milliseconds. */
        public final double p95Ms;
        /** Bytes by which the process grew; null where unknown. */
        public final Long memory;
        /** Millijoule of a run; null where unknown. */
        public final Double energyMj;

        private Cost(JsonObject json, boolean head) {
            end = head ? json.integer("end") : -1;
            precision = head ? json.string("precision") : null;
            codec = head ? null : json.string("codec");
            level = head ? 0 : json.integer("level");
            boolean graph = head || json.has("format");
            format = graph ? json.choice("format", "onnx", "tflite") : null;
            sha256 = json.string("sha256");
            p50Ms = json.number("p50_ms");
            p95Ms = json.number("p95_ms");
            memory = head && json.has("memory") ? (Long) json.integer("memory") : null;
            energyMj = json.has("energy_mj") ? (Double) json.number("energy_mj") : null;
            json.end();
        }

        static Cost ofHead(JsonObject json) {
            return new Cost(json, true);
        }

        static Cost ofEncoder(JsonObject json) {
            return new Cost(json, false);
        }

        boolean sensible() {
            return sensible(p50Ms) && sensible(p95Ms) && (energyMj == null || sensible(energyMj));
        }

        private static boolean sensible(double value) {
            return value >= 0 && !Double.isInfinite(value);
        }
    }
}
