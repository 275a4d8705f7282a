package dev.cutpoint.core.interop;

import dev.cutpoint.core.entropy.EntropyDecoder;
import dev.cutpoint.core.entropy.EntropyEncoder;
import dev.cutpoint.core.entropy.EntropyModel;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;

/**
 * Reads tensors and the streams that another implementation made of them; decodes those streams, and writes its own.
 *
 * <p>Input, numbers big endian: groups of model (length, bytes), number of tensors, and for each of them channels,
 * positions, symbols (length, bytes), stream (length, bytes). Output: the streams (length, bytes).
 */
public final class EntropyExchange {
    private EntropyExchange() {}

    public static void main(String[] arguments) throws IOException {
        EntropyEncoder encoder = new EntropyEncoder();
        EntropyDecoder decoder = new EntropyDecoder();
        int wrong = 0;
        try (DataInputStream in = new DataInputStream(
                        new BufferedInputStream(Files.newInputStream(Paths.get(arguments[0])), 1 << 20));
                DataOutputStream out = new DataOutputStream(
                        new BufferedOutputStream(Files.newOutputStream(Paths.get(arguments[1])), 1 << 20))) {
            for (int groups = in.readInt(); groups > 0; groups--) {
                EntropyModel model = EntropyModel.fromBytes(bytes(in));
                for (int tensors = in.readInt(); tensors > 0; tensors--) {
                    int channels = in.readInt();
                    int positions = in.readInt();
                    byte[] symbols = bytes(in);
                    ByteBuffer decoded = decoder.decode(model, bytes(in), channels, positions);
                    wrong += Arrays.equals(decoded.array(), symbols) ? 0 : 1;
                    byte[] stream = encoder.encode(model, ByteBuffer.wrap(symbols), channels, positions);
                    out.writeInt(stream.length);
                    out.write(stream);
                }
            }
        }
        if (wrong > 0) {
            throw new IllegalStateException(wrong + " streams decoded to other symbols");
        }
    }

    private static byte[] bytes(DataInputStream in) throws IOException {
        byte[] bytes = new byte[in.readInt()];
        in.readFully(bytes);
        return bytes;
    }
}
