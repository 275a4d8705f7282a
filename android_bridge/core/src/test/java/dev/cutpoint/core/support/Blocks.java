package dev.cutpoint.core.support;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.function.Function;
import java.util.function.UnaryOperator;

/** Files of blocks, each behind its length (u32, big endian): what programs of two languages exchange. */
public final class Blocks {
    private Blocks() {}

    /** Makes a block of each block of the file that the first argument names, into the file of the second. */
    public static void transform(String[] files, UnaryOperator<byte[]> work) throws IOException {
        try (DataInputStream in = new DataInputStream(
                        new BufferedInputStream(Files.newInputStream(Paths.get(files[0])), 1 << 20));
                DataOutputStream out = new DataOutputStream(
                        new BufferedOutputStream(Files.newOutputStream(Paths.get(files[1])), 1 << 20))) {
            while (true) {
                byte[] block;
                try {
                    block = new byte[in.readInt()];
                } catch (EOFException end) {
                    return;
                }
                in.readFully(block);
                byte[] made = work.apply(block);
                out.writeInt(made.length);
                out.write(made);
            }
        }
    }

    /** As {@link #transform}, with a word for each block. */
    public static void judge(String[] files, Function<byte[], String> judge) throws IOException {
        transform(files, block -> judge.apply(block).getBytes(StandardCharsets.UTF_8));
    }
}
