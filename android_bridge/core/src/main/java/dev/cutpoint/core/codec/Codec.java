package dev.cutpoint.core.codec;

import dev.cutpoint.core.error.CodecException;
import dev.cutpoint.core.tensor.Tensor;
import dev.cutpoint.core.tensor.TensorSpec;
import java.util.List;

/** Turns the tensors that cross a cut into bytes, at one of several levels. For one thread at a time. */
public interface Codec extends AutoCloseable {
    /**
     * The bytes that cross the cut.
     *
     * @param tensors of the codec's start boundary
     * @param level 0 … levels - 1, the smallest first
     * @param reference symbols of an earlier frame that the server has; null for none. Of use to streams only
     * @throws CodecException for tensors of another shape or type, or a level that is not there
     */
    Encoded encode(List<Tensor> tensors, int level, List<Tensor> reference);

    @Override
    default void close() {}

    /** A payload, and the symbols it stands for where a later frame may refer to them; null elsewhere. */
    final class Encoded {
        public final byte[] payload;
        public final List<Tensor> symbols;

        Encoded(byte[] payload, List<Tensor> symbols) {
            this.payload = payload;
            this.symbols = symbols;
        }
    }

    /** Throws {@link CodecException} unless {@code tensors} are what {@code specs} describe. */
    static void check(List<TensorSpec> specs, List<Tensor> tensors, String what) {
        if (!fits(specs, tensors)) {
            throw new CodecException(what + ": " + tensors + " given, " + specs + " expected");
        }
    }

    /** Whether {@code tensors} are what {@code specs} describe. */
    static boolean fits(List<TensorSpec> specs, List<Tensor> tensors) {
        if (tensors.size() != specs.size()) {
            return false;
        }
        for (int i = 0; i < specs.size(); i++) {
            if (!specs.get(i).accepts(tensors.get(i))) {
                return false;
            }
        }
        return true;
    }
}
