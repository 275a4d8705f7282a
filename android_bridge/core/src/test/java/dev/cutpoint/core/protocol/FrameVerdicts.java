package dev.cutpoint.core.protocol;

import dev.cutpoint.core.error.RemoteProtocolException;
import dev.cutpoint.core.support.Blocks;
import java.io.IOException;

/** What the decoder says to each frame of a file: its kind, or the error's code. */
public final class FrameVerdicts {
    private FrameVerdicts() {}

    public static void main(String[] arguments) throws IOException {
        Blocks.judge(arguments, frame -> {
            try {
                return String.valueOf(FrameDecoder.decode(frame).kind());
            } catch (RemoteProtocolException error) {
                return error.code();
            }
        });
    }
}
