package dev.cutpoint.core.support;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** The golden vectors of the entropy coder, tests/vectors. */
public final class Vectors {
    private Vectors() {}

    /** One vector: a model, a shape, symbols (null where a decoder must refuse the stream), and the stream. */
    public static final class Vector {
        public final String name;
        public final byte[] model;
        public final int channels;
        public final int positions;
        public final byte[] symbols;
        public final byte[] stream;

        Vector(String name, byte[] file) {
            this.name = name;
            ByteBuffer in = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
            in.position(4);
            boolean refused = in.get() != 0;
            model = take(in, in.getInt());
            channels = in.getInt();
            positions = in.getInt();
            int width = new int[] {1, 1, 2, 2, 4}[model[5]];
            symbols = refused ? null : take(in, channels * positions * width);
            stream = take(in, in.getInt());
            if (in.hasRemaining()) {
                throw new IllegalStateException(name + " has bytes too many");
            }
        }

        private static byte[] take(ByteBuffer in, int length) {
            byte[] bytes = new byte[length];
            in.get(bytes);
            return bytes;
        }

        @Override
        public String toString() {
            return name;
        }
    }

    /** The root of the checkout, which the build hands over. */
    public static Path root() {
        return Paths.get(System.getProperty("cutpoint.root"));
    }

    /** All vectors, by name. */
    public static List<Vector> all() throws IOException {
        List<Path> paths = new ArrayList<>();
        try (DirectoryStream<Path> files = Files.newDirectoryStream(root().resolve("tests/vectors"), "*.vec")) {
            files.forEach(paths::add);
        }
        Collections.sort(paths);
        List<Vector> vectors = new ArrayList<>();
        for (Path path : paths) {
            vectors.add(read(path));
        }
        return vectors;
    }

    /** The vector in a file. */
    public static Vector read(Path path) throws IOException {
        return new Vector(path.getFileName().toString(), Files.readAllBytes(path));
    }
}
