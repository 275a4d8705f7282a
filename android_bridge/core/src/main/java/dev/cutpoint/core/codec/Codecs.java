package dev.cutpoint.core.codec;

import dev.cutpoint.core.bundle.CodecEntry;
import dev.cutpoint.core.error.CodecException;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.runtime.PictureEncoder;
import dev.cutpoint.core.tensor.TensorSpec;
import java.util.List;

/** Makes codecs from what a bundle says of them. */
public final class Codecs {
    private Codecs() {}

    /** Whether a codec of that kind can be made here, given its graph and tables. */
    public static boolean known(String codec, PictureEncoder pictures) {
        switch (codec) {
            case "raw":
            case "affine":
            case "klt":
            case "bottleneck":
            case "slimmable":
            case "delta":
                return true;
            case "jpeg":
            case "webp":
                return pictures != null && pictures.supports(codec);
            default:
                return false;
        }
    }

    /**
     * A codec.
     *
     * @param entry what the manifest says
     * @param source tensors of its start boundary
     * @param tables content of its tables file; null where it has none
     * @param analysis its encoder graph; null where it has none
     * @param pictures for codecs that write picture files; null for none
     * @throws CodecException if it cannot be made from these parts
     */
    public static Codec create(
            CodecEntry entry, List<TensorSpec> source, byte[] tables, Graph analysis, PictureEncoder pictures) {
        if (!known(entry.codec, pictures)) {
            throw new CodecException("codec '" + entry.codec + "' is not known here: the app needs a newer cutpoint");
        }
        int levels = entry.levels.size();
        switch (entry.codec) {
            case "raw":
                return new RawCodec(source, entry.levels);
            case "jpeg":
            case "webp":
                return new ImageCodec(entry.codec, pictures, source, levels, entry.config);
            default:
        }
        if (tables == null || analysis == null) {
            throw new CodecException("codec '" + entry.id + "' lacks its tables or its encoder graph");
        }
        return entry.codec.equals("delta")
                ? new DeltaCodec(source, entry.symbols, levels, tables, analysis)
                : new SymbolCodec(source, entry.symbols, levels, levels, tables, analysis);
    }
}
