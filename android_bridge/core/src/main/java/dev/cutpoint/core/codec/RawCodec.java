package dev.cutpoint.core.codec;

import dev.cutpoint.core.error.CodecException;
import dev.cutpoint.core.tensor.HalfFloat;
import dev.cutpoint.core.tensor.Tensor;
import dev.cutpoint.core.tensor.TensorSpec;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * All values of all tensors, C order, little endian: {@code exact}, or floats rounded to half precision ({@code fp16}).
 */
final class RawCodec implements Codec {
    private final List<TensorSpec> source;
    private final List<String> levels;

    RawCodec(List<TensorSpec> source, List<String> levels) {
        for (String level : levels) {
            if (!level.equals("exact") && !level.equals("fp16")) {
                throw new CodecException("codec 'raw' has the levels 'exact' and 'fp16', not " + level);
            }
        }
        this.source = source;
        this.levels = levels;
    }

    @Override
    public Encoded encode(List<Tensor> tensors, int level, List<Tensor> reference) {
        Codec.check(source, tensors, "codec 'raw'");
        boolean halves = levels.get(level).equals("fp16");
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (Tensor tensor : tensors) {
            byte[] bytes;
            if (halves && tensor.type().isFloat()) {
                bytes = halved(tensor.toFloats());
            } else {
                bytes = new byte[tensor.bytes()];
                tensor.data().get(bytes);
            }
            out.write(bytes, 0, bytes.length);
        }
        return new Encoded(out.toByteArray(), null);
    }

    private static byte[] halved(float[] values) {
        ByteBuffer out = ByteBuffer.allocate(2 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        for (float value : values) {
            out.putShort(HalfFloat.fromFloat(value));
        }
        return out.array();
    }
}
