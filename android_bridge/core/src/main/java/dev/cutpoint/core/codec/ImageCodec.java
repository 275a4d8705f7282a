package dev.cutpoint.core.codec;

import dev.cutpoint.core.error.CodecException;
import dev.cutpoint.core.json.JsonException;
import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.runtime.PictureEncoder;
import dev.cutpoint.core.tensor.Tensor;
import dev.cutpoint.core.tensor.TensorSpec;
import java.util.List;

/** {@code jpeg} and {@code webp}: boundary 0 as a picture file, written by the platform's encoder. */
final class ImageCodec implements Codec {
    private final String format;
    private final PictureEncoder encoder;
    private final List<TensorSpec> source;
    private final int[] quality;

    ImageCodec(String format, PictureEncoder encoder, List<TensorSpec> source, int levels, JsonObject config) {
        this.format = format;
        this.encoder = encoder;
        this.source = source;
        try {
            double[] given = config.numbers("quality", levels);
            quality = new int[given.length];
            for (int i = 0; i < given.length; i++) {
                quality[i] = (int) given[i];
            }
        } catch (JsonException error) {
            throw new CodecException("codec '" + format + "': " + error.getMessage(), error);
        }
        int[] shape = source.get(0).shape();
        if (source.size() != 1 || shape.length != 4 || shape[3] != 3 || quality.length != levels) {
            throw new CodecException(
                    "codec '" + format + "' takes one uint8 tensor (1, height, width, 3) and a quality per level");
        }
    }

    @Override
    public Encoded encode(List<Tensor> tensors, int level, List<Tensor> reference) {
        Codec.check(source, tensors, "codec '" + format + "'");
        byte[] rgb = new byte[tensors.get(0).bytes()];
        tensors.get(0).data().get(rgb);
        int[] shape = source.get(0).shape();
        return new Encoded(encoder.encode(format, rgb, shape[2], shape[1], quality[level]), null);
    }
}
