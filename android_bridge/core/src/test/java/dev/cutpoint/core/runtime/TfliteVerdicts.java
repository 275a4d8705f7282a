package dev.cutpoint.core.runtime;

import dev.cutpoint.core.error.GraphException;
import dev.cutpoint.core.support.Blocks;
import java.io.IOException;
import java.util.Collections;

/** Whether each {@code .tflite} file of a file is taken, where it has no weights behind it. */
public final class TfliteVerdicts {
    private TfliteVerdicts() {}

    public static void main(String[] arguments) throws IOException {
        Blocks.judge(arguments, data -> {
            try {
                TfliteFile.join(data, Collections.emptyMap());
                return "taken";
            } catch (GraphException error) {
                return "refused";
            }
        });
    }
}
