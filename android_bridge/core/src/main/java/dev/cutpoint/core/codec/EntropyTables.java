package dev.cutpoint.core.codec;

import dev.cutpoint.core.entropy.EntropyModel;
import dev.cutpoint.core.error.CodecException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** A codec's tables file: rows of entropy models, one model a symbol tensor. */
final class EntropyTables {
    private EntropyTables() {}

    /**
     * The models, row by row.
     *
     * @throws CodecException if the file is damaged or made for another number of rows or tensors
     */
    static EntropyModel[][] parse(byte[] data, int rows, int tensors) {
        ByteBuffer in = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        if (data.length < 2 || (in.get() & 0xFF) != rows || (in.get() & 0xFF) != tensors) {
            throw new CodecException("entropy tables are not for " + rows + " rows of " + tensors + " tensors");
        }
        EntropyModel[][] models = new EntropyModel[rows][tensors];
        for (int i = 0; i < rows * tensors; i++) {
            int length = in.remaining() < 4 ? -1 : in.getInt();
            if (length < 0 || length > in.remaining()) {
                throw new CodecException("entropy tables are cut short");
            }
            byte[] model = Arrays.copyOfRange(data, in.position(), in.position() + length);
            in.position(in.position() + length);
            models[i / tensors][i % tensors] = EntropyModel.fromBytes(model);
        }
        if (in.hasRemaining()) {
            throw new CodecException("entropy tables have bytes too many");
        }
        return models;
    }
}
