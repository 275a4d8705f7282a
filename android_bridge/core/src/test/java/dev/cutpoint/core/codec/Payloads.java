package dev.cutpoint.core.codec;

import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.json.JsonReader;
import dev.cutpoint.core.runtime.Graph;
import dev.cutpoint.core.support.Blocks;
import dev.cutpoint.core.tensor.ElementType;
import dev.cutpoint.core.tensor.Tensor;
import dev.cutpoint.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * The payload of each case of a file: a JSON object, tables, and for each tensor its values and its reference's, every
 * part behind its length (u32, big endian). The encoder graph gives back what it gets.
 */
public final class Payloads {
    private static final Graph IDENTITY = new Graph() {
        @Override
        public List<String> inputNames() {
            return Collections.emptyList();
        }

        @Override
        public List<Tensor> run(List<Tensor> inputs) {
            return inputs;
        }

        @Override
        public void close() {}
    };

    private Payloads() {}

    public static void main(String[] arguments) throws IOException {
        Blocks.transform(arguments, block -> {
            ByteBuffer in = ByteBuffer.wrap(block);
            JsonObject json = new JsonObject(JsonReader.parse(part(in)), "case");
            byte[] tables = part(in);
            List<TensorSpec> specs = new ArrayList<>();
            List<Tensor> tensors = new ArrayList<>();
            List<Tensor> reference = new ArrayList<>();
            for (JsonObject tensor : json.objects("tensors", false)) {
                ElementType type = ElementType.of(tensor.string("dtype"));
                specs.add(new TensorSpec("tensor", tensor.int32s("shape"), type));
                tensors.add(Tensor.of(type, ByteBuffer.wrap(part(in)), tensor.int32s("shape")));
                byte[] before = part(in);
                if (before.length > 0) {
                    reference.add(Tensor.of(type, ByteBuffer.wrap(before), tensor.int32s("shape")));
                }
            }
            List<String> levels = json.strings("levels", false);
            Codec codec = codec(json.string("codec"), specs, levels, tables);
            return codec.encode(tensors, json.int32("level"), reference.isEmpty() ? null : reference).payload;
        });
    }

    private static Codec codec(String kind, List<TensorSpec> specs, List<String> levels, byte[] tables) {
        switch (kind) {
            case "raw":
                return new RawCodec(specs, levels);
            case "delta":
                return new DeltaCodec(specs, specs, levels.size(), tables, IDENTITY);
            default:
                return new SymbolCodec(specs, specs, levels.size(), levels.size(), tables, IDENTITY);
        }
    }

    private static byte[] part(ByteBuffer in) {
        byte[] part = new byte[in.getInt()];
        in.get(part);
        return part;
    }
}
