package dev.cutpoint.core.codec;

import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.tensor.ElementType;
import dev.cutpoint.core.tensor.Tensor;
import dev.cutpoint.core.tensor.TensorSpec;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32;

/**
 * A symbol codec that can refer to earlier frames of a stream, named by the CRC-32 of their symbols. Its tables hold
 * one row a level for key frames, then one row a level for differences.
 */
final class DeltaCodec extends SymbolCodec {
    private static final int KEY_HEADER = 1;
    /** Kind, and the reference's name. */
    private static final int DELTA_HEADER = 5;

    DeltaCodec(List<TensorSpec> source, List<TensorSpec> symbols, int levels, byte[] tables, Graph analysis) {
        super(source, symbols, levels, 2 * levels, tables, analysis);
    }

    @Override
    public Encoded encode(List<Tensor> tensors, int level, List<Tensor> reference) {
        List<Tensor> symbols = symbols(tensors, level);
        byte[] payload = streams(symbols, level, KEY_HEADER);
        if (reference != null && fits(reference)) {
            byte[] delta = streams(difference(symbols, reference), levels() + level, DELTA_HEADER);
            if (delta.length < payload.length) {
                payload = delta;
                payload[0] = 1;
                ByteBuffer.wrap(payload).order(ByteOrder.LITTLE_ENDIAN).putInt(1, name(reference));
            }
        }
        return new Encoded(payload, symbols);
    }

    /** CRC-32 of the symbols: their name. */
    static int name(List<Tensor> symbols) {
        CRC32 crc = new CRC32();
        for (Tensor tensor : symbols) {
            byte[] bytes = new byte[tensor.bytes()];
            tensor.data().get(bytes);
            crc.update(bytes, 0, bytes.length);
        }
        return (int) crc.getValue();
    }

    /** Symbols less the reference's, wrapped around in the width of their type and read as signed. */
    static List<Tensor> difference(List<Tensor> symbols, List<Tensor> reference) {
        List<Tensor> differences = new ArrayList<>();
        for (int i = 0; i < symbols.size(); i++) {
            Tensor tensor = symbols.get(i);
            ByteBuffer a = tensor.data();
            ByteBuffer b = reference.get(i).data();
            ByteBuffer out = ByteBuffer.allocate(tensor.bytes()).order(ByteOrder.LITTLE_ENDIAN);
            ElementType signed;
            switch (tensor.type().bytes()) {
                case 1:
                    signed = ElementType.INT8;
                    while (out.hasRemaining()) {
                        out.put((byte) (a.get() - b.get()));
                    }
                    break;
                case 2:
                    signed = ElementType.INT16;
                    while (out.hasRemaining()) {
                        out.putShort((short) (a.getShort() - b.getShort()));
                    }
                    break;
                default:
                    signed = ElementType.INT32;
                    while (out.hasRemaining()) {
                        out.putInt(a.getInt() - b.getInt());
                    }
            }
            out.flip();
            differences.add(Tensor.of(signed, out, tensor.shape()));
        }
        return differences;
    }
}
