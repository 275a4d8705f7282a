package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;

/** An operating point: boundary × precision × codec × level, with what was measured of it. */
public final class Point {
    /** For example {@code cut5-int8-klt-q3}; for a point without codec {@code cut9-int8}. */
    public final String id;
    /** Boundary up to which the device computes; 0: nothing, the last: everything. */
    public final int start;
    /** Boundary at which the tail begins. */
    public final int end;
    /** What calibration measured. */
    public final Measurement measured;
    /** Of the head; null where the device computes nothing. */
    public final String precision;
    /** {@link CodecEntry#id}; null for a local point. */
    public final String codec;
    /** The codec's level. */
    public final int level;
    /** Of the tail; null for a local point. */
    public final String tailPrecision;
    /** {@link Exit#id}; null for a point without. Points with one do not run here. */
    public final String exit;
    /** Which of the exit's thresholds. */
    public final int threshold;
    /** How the head is computed in slices; null for a head in one piece. Points with one do not run here. */
    public final Slicing slicing;

    private Point(JsonObject json) {
        id = json.string("id");
        start = json.int32("start");
        end = json.int32("end");
        measured = new Measurement(json.object("measured"));
        precision = json.stringOrNull("precision");
        codec = json.stringOrNull("codec");
        level = json.int32("level", 0);
        tailPrecision = json.stringOrNull("tail_precision");
        exit = json.stringOrNull("exit");
        threshold = json.int32("threshold", 0);
        slicing = json.has("slicing") ? new Slicing(json.object("slicing")) : null;
        json.end();
    }

    /** From its part of a manifest; throws {@link dev.cutpoint.core.json.JsonException} if it is none. */
    public static Point of(JsonObject json) {
        return new Point(json);
    }

    /** Whether the device answers alone. */
    public boolean isLocal() {
        return codec == null;
    }

    @Override
    public String toString() {
        return id;
    }
}
