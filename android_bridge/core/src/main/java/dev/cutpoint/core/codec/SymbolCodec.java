package dev.cutpoint.core.codec;

import dev.cutpoint.core.entropy.EntropyEncoder;
import dev.cutpoint.core.entropy.EntropyModel;
import dev.cutpoint.core.error.CodecException;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.tensor.Tensor;
import dev.cutpoint.core.tensor.TensorSpec;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * Encoder graph → symbols → entropy coder: {@code affine}, {@code klt}, {@code bottleneck} and {@code slimmable} are
 * one class at run time.
 *
 * <p>Payload: the streams of the symbol tensors one after the other, each but the last behind its length.
 */
class SymbolCodec implements Codec {
    private final List<TensorSpec> source;
    private final List<TensorSpec> symbols;
    private final int levels;
    private final EntropyModel[][] models;
    private final Graph analysis;
    private final boolean takesLevel;
    private final EntropyEncoder encoder = new EntropyEncoder();

    /**
     * @param rows of the tables file; the first ones are the levels'
     * @param analysis the encoder graph
     */
    SymbolCodec(
            List<TensorSpec> source, List<TensorSpec> symbols, int levels, int rows, byte[] tables, Graph analysis) {
        if (symbols.isEmpty()) {
            throw new CodecException("a symbol codec needs at least one symbol tensor");
        }
        this.source = source;
        this.symbols = symbols;
        this.levels = levels;
        this.analysis = analysis;
        this.takesLevel = analysis.inputNames().size() > source.size(); // LiteRT files have names of their own
        models = EntropyTables.parse(tables, rows, symbols.size());
        for (int level = 0; level < levels; level++) {
            for (int i = 0; i < symbols.size(); i++) {
                if (models[level][i].type() != symbols.get(i).type()) {
                    throw new CodecException("the entropy tables are for symbols of another type");
                }
            }
        }
    }

    @Override
    public Encoded encode(List<Tensor> tensors, int level, List<Tensor> reference) {
        return new Encoded(streams(symbols(tensors, level), level, 0), null);
    }

    @Override
    public void close() {
        analysis.close();
    }

    final int levels() {
        return levels;
    }

    /** Whether these are symbols of this codec. */
    final boolean fits(List<Tensor> tensors) {
        return Codec.fits(symbols, tensors);
    }

    /** What the encoder graph makes of {@code tensors}. */
    final List<Tensor> symbols(List<Tensor> tensors, int level) {
        if (level < 0 || level >= levels) {
            throw new CodecException("the codec has levels 0 to " + (levels - 1) + ", not " + level);
        }
        Codec.check(source, tensors, "codec");
        List<Tensor> inputs = tensors;
        if (takesLevel) {
            inputs = new ArrayList<>(tensors);
            inputs.add(Tensor.ofLevel(level));
        }
        List<Tensor> made = analysis.run(inputs);
        Codec.check(symbols, made, "encoder graph");
        return made;
    }

    /** The streams of {@code symbols}, coded with row {@code row} of the tables, behind {@code room} free bytes. */
    final byte[] streams(List<Tensor> symbols, int row, int room) {
        byte[][] streams = new byte[symbols.size()][];
        int size = room + 4 * (streams.length - 1);
        for (int i = 0; i < streams.length; i++) {
            int[] shape = this.symbols.get(i).shape();
            int channels = shape.length > 1 ? shape[1] : 1;
            Tensor tensor = symbols.get(i);
            streams[i] = encoder.encode(models[row][i], tensor.data(), channels, tensor.size() / channels);
            size += streams[i].length;
        }
        if (room == 0 && streams.length == 1) {
            return streams[0];
        }
        ByteBuffer out = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
        out.position(room);
        for (int i = 0; i < streams.length; i++) {
            if (i < streams.length - 1) {
                out.putInt(streams[i].length);
            }
            out.put(streams[i]);
        }
        return out.array();
    }
}
