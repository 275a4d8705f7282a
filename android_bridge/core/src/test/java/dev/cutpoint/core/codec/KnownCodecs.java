package dev.cutpoint.core.codec;

import dev.cutpoint.core.runtime.PictureEncoder;
import dev.cutpoint.core.support.Blocks;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/**
 * Whether each codec id of a file is known: {@code always}, {@code pictures} (with an encoder for them), {@code never}.
 */
public final class KnownCodecs {
    private static final PictureEncoder PICTURES = new PictureEncoder() {
        @Override
        public boolean supports(String format) {
            return true;
        }

        @Override
        public byte[] encode(String format, byte[] rgb, int width, int height, int quality) {
            throw new UnsupportedOperationException();
        }
    };

    private KnownCodecs() {}

    public static void main(String[] arguments) throws IOException {
        Blocks.judge(arguments, block -> {
            String id = new String(block, StandardCharsets.UTF_8);
            return Codecs.known(id, null) ? "always" : Codecs.known(id, PICTURES) ? "pictures" : "never";
        });
    }
}
