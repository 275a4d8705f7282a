package dev.cutpoint.core.bundle;

import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.tensor.TensorSpec;
import java.util.Collections;
import java.util.List;

/** A codec at a boundary. */
public final class CodecEntry {
    /** Unique in the bundle, for example {@code 5-affine}. */
    public final String id;
    /** What kind of codec it is, for example {@code klt}. */
    public final String codec;
    /** Boundary whose tensors the encoder takes. */
    public final int start;
    /** Boundary whose tensors the decoder gives; another one than {@link #start} where the codec replaces layers. */
    public final int end;
    /** Name of each level, smallest first; in families with widths, by width and then by size. */
    public final List<String> levels;
    /** Tensors between encoder graph and entropy coder. */
    public final List<TensorSpec> symbols;
    /** Encoder graph files (inputs: the start boundary's tensors, then optionally the level, a scalar). */
    public final List<GraphFile> encoder;
    /** Decoder graph files; of no use to a device. */
    public final List<GraphFile> decoder;
    /** Entropy tables file; null for a codec without. */
    public final String tables;
    /** The codec's own settings. */
    public final JsonObject config;

    CodecEntry(JsonObject json) {
        id = json.string("id");
        codec = json.string("codec");
        start = json.int32("start");
        end = json.int32("end");
        levels = Collections.unmodifiableList(json.strings("levels", false));
        symbols = Boundary.specs(json.objects("symbols", true));
        encoder = GraphFile.list(json.objects("encoder", true));
        decoder = GraphFile.list(json.objects("decoder", true));
        tables = json.stringOrNull("tables");
        JsonObject given = json.objectOrNull("config");
        config = given != null ? given : new JsonObject(Collections.emptyMap(), "config");
        json.end();
    }
}
