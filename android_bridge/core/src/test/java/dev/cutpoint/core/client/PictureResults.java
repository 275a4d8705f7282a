package dev.cutpoint.core.client;

import dev.cutpoint.core.bundle.Preprocessing;
import dev.cutpoint.core.json.JsonObject;
import dev.cutpoint.core.json.JsonReader;
import dev.cutpoint.core.support.Blocks;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Boundary 0 of each picture of a file: height and width (u32, big endian), a JSON preprocessing behind its size,
 * pixels.
 */
public final class PictureResults {
    private PictureResults() {}

    public static void main(String[] arguments) throws IOException {
        Blocks.transform(arguments, block -> {
            ByteBuffer in = ByteBuffer.wrap(block);
            int height = in.getInt();
            int width = in.getInt();
            byte[] json = new byte[in.getInt()];
            in.get(json);
            byte[] rgb = Arrays.copyOfRange(block, in.position(), block.length);
            Preprocessing how = Preprocessing.of(new JsonObject(JsonReader.parse(json), "preprocessing"));
            return Boundary0.fit(Picture.ofRgb(rgb, width, height), how).rgb;
        });
    }
}
