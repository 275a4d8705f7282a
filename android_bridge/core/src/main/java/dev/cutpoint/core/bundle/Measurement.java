package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;

/** What calibration measured of a point. Times in milliseconds on the calibrating machine, one sample at a time. */
public final class Measurement {
    /** The task metric, 0 … 1. */
    public final double metric;
    /** Mean payload size; 0 for a point that sends nothing. */
    public final double bytesMean;
    /** 95th percentile of the payload size. */
    public final double bytesP95;
    /** Head, or the whole model for a local point. */
    public final double deviceMs;
    /** Encoder graph and entropy coder. */
    public final double encodeMs;
    /** Entropy decoder and decoder graph. */
    public final double decodeMs;
    /** Tail. */
    public final double tailMs;
    /** Device energy without radio, millijoule; null where it was not measured. */
    public final Double energyMj;
    /** Share of the requests that the point's exit answers; 0 without one. */
    public final double exitRate;
    /** Head and exit, up to its answer. */
    public final double exitMs;

    Measurement(JsonObject json) {
        metric = json.number("metric");
        bytesMean = json.number("bytes_mean");
        bytesP95 = json.number("bytes_p95");
        deviceMs = json.number("device_ms");
        encodeMs = json.number("encode_ms", 0);
        decodeMs = json.number("decode_ms", 0);
        tailMs = json.number("tail_ms", 0);
        energyMj = json.has("energy_mj") ? (Double) json.number("energy_mj") : null;
        exitRate = json.number("exit_rate", 0);
        exitMs = json.number("exit_ms", 0);
        json.end();
    }
}
